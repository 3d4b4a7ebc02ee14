// Fetches the part of /admin/status that changes, every half a minute, while somebody is there to see it:
// it must not keep a log-in alive that nobody uses, nor take the page away from under a keyboard.
"use strict";
(() => {
  const part = document.getElementById("now");
  const EVERY = 30_000, PATIENCE = 10 * 60_000;
  let touched = Date.now();
  for (const kind of ["pointermove", "keydown", "scroll", "focus"]) {
    addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  }
  setInterval(async () => {
    if (document.hidden || Date.now() - touched > PATIENCE || part.contains(document.activeElement)) return;
    try {
      const answer = await fetch(part.dataset.part, { credentials: "same-origin", redirect: "error" });
      if (answer.ok) part.innerHTML = await answer.text();
    } catch {
      // not there for a moment, or the log-in has ended: what is shown says how old it is
    }
  }, EVERY);
})();
