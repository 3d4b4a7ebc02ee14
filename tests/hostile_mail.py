"""Messages made to hurt who reads them: deep, cyclic, endless, half a million of whatever a header can hold."""


def deep(levels: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level) for level in range(levels)
    )


def scaled(size: int) -> dict[str, bytes]:
    """Each kind, of about `size` octets."""
    return {
        name: make(size)
        for name, make in {
            "deep multipart": lambda n: deep(n // 54),
            "one boundary for all": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * (n // 47),
            "boundaries that begin alike": lambda n: (
                b"".join(
                    b"Content-Type: multipart/mixed; boundary=%b\n\n--%b\n" % (b"b" * i, b"b" * i) for i in range(1, 80)
                )
                + b"--b\n" * (n // 4)
            ),
            "many parts": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * (n // 7),
            "many digests": lambda n: (
                b"Content-Type: multipart/digest; boundary=b\n\n" + b"--b\n\nSubject: x\n\ny\n" * (n // 19)
            ),
            "messages in messages": lambda n: b"Content-Type: message/rfc822\n\n" * (n // 30),
            "lines of dashes": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--\n" * (n // 3),
            "long boundary": lambda n: (
                b'Content-Type: multipart/mixed; boundary="' + b"b" * (n // 2) + b'"\n\n--' + b"b" * n
            ),
            "long line": lambda n: b"Subject: " + b"x" * n + b"\n\n",
            "many fields": lambda n: b"X: y\n" * (n // 5) + b"\n",
            "many To": lambda n: b"To: a@b\n" * (n // 8) + b"\n",
            "many Content-Type": lambda n: b"Content-Type: text/plain\n" * (n // 25) + b"\n",
            "no colons": lambda n: b"abc\n" * (n // 4),
            "folds": lambda n: b"To: a" + b"\n " * (n // 2) + b"\n\n",
            "NULs": bytes,
            "CRs": lambda n: b"\r" * n,
            "encoded words": lambda n: b"Subject: " + b"=?utf-8?q?a?= " * (n // 14) + b"\n\n",
            "broken encoded words": lambda n: b"Subject: " + b"=?" * (n // 2) + b"\n\n",
            "invalid charsets": lambda n: b"Subject: " + b"=?klingon?b?/w==?= =?utf-7?q?+AGE?= " * (n // 36) + b"\n\n",
            "parameters": lambda n: (
                b"Content-Type: text/plain" + b"".join(b"; p%d=x" % i for i in range(n // 9)) + b"\n\n"
            ),
            "RFC 2231": lambda n: (
                b"Content-Type: text/plain" + b"".join(b"; a*%d=x" % i for i in range(n // 10)) + b"\n\n"
            ),
            "RFC 2231 backwards": lambda n: (
                b"Content-Type: text/plain" + b"".join(b"; a*%d*=%%41" % i for i in range(n // 14, 0, -1)) + b"\n\n"
            ),
            "RFC 2231 over and over": lambda n: b"Content-Disposition: a" + b"; p*0*=''x" * (n // 10) + b"\n\n",
            "languages": lambda n: b"Content-Language: " + b"de, " * (n // 4) + b"\n\n",
            "comments in Content-Type": lambda n: b"Content-Type: " + b"(a)" * (n // 3) + b"text/plain\n\n",
            **{
                f"To: {piece!r}": lambda n, piece=piece: b"To: " + piece * (n // len(piece)) + b"\n\n"
                for piece in (
                    b"a,",
                    b"a@b,",
                    b"g:;",
                    b"g:a,",
                    b"(",
                    b"()",
                    b'"',
                    b"\\",
                    b"<",
                    b"<@a,",
                    b".",
                    b"a.",
                    b"[",
                    b"a@[",
                    b"@",
                    b";",
                    b"a <",
                    b'"\\',
                    b"\xe4,",
                    b"=?utf-8?q?a?= <a@b>,",
                )
            },
            "route": lambda n: b"To: <" + b"@a," * (n // 3) + b":x@y>\n\n",
            "Message-ID": lambda n: b"Message-ID: " + b"<" * n + b"\n\n",
            "Date": lambda n: b"Date: " + b"1" * n + b"\n\n",
        }.items()
    }
