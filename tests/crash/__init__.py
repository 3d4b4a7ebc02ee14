"""What must hold when things break: kill -9, power cut, full disk, errors of the disk, wrong clocks.

The real programs run as processes under a temporary root (`rig`). A load client (`load`) writes down exactly what was
answered to each mail, and afterwards the mail is counted (`audit`): what was answered with 250 is there once, whole.
`stepper` runs a program so that it dies, or gets an error, at its n-th call to the operating system.
"""
