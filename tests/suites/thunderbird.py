"""Thunderbird does what people do with it, driven by Marionette; run by test_thunderbird.py with a Python of its own.

    python thunderbird.py SETTINGS.json

The settings name the ports, the account, the CA and a directory to work in. Two profiles are two clients of an account.
Prints "ok: STEP" for each thing that went well; the screenshot of the first window lies in the directory.
"""

import base64
import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marionette_driver import errors
from marionette_driver.marionette import Marionette

INSTALLED = Path("/usr/lib/thunderbird")
SECONDS = 40

PREFERENCES = {
    "app.donation.eoy.version.viewed": 999,
    "app.update.enabled": False,
    "datareporting.policy.bypassNotification": True,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "network.manage-offline-status": False,
    "offline.autoDetect": False,
    "offline.startup_state": 2,
    "mailnews.start_page_override.mstone": "ignore",
    "mail.biff.show_alert": False,
    "mail.winsearch.firstRunDone": True,
    "mail.inappnotifications.enabled": False,
}

# What every step starts with: services, and waiting for something that Thunderbird does in its own time.
PRELUDE = """
const resolve = arguments[arguments.length - 1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const sleep = ms => new Promise(done => setTimeout(done, ms));
const until = async (what, condition) => {
    for (let n = 0; n < 200; n++) {
        const value = await condition();
        if (value) return value;
        await sleep(100);
    }
    throw new Error(`waited for ${what}; offline: ${Services.io.offline}`);
};
const server = () => MailServices.accounts.allServers.find(one => one.type == "imap");
const folder = name => name == "INBOX"
    ? server().rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox)
    : name.split("/").reduce((at, part) => at.getChildNamed(part), server().rootFolder);
const called = name => { try { return folder(name); } catch (error) { return null; } };
const update = async where => {
    await new Promise(done => where.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(
        null, { OnStartRunningUrl() {}, OnStopRunningUrl() { done(); } }));
};
const mails = where => [...where.messages];
const find = (where, subject) => mails(where).find(one => one.mime2DecodedSubject == subject);
const copied = run => new Promise((done, failed) => run({
    onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
    onStopCopy(status) { Components.isSuccessCode(status) ? done() : failed(new Error(`copy: ${status}`)); },
    QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"])
}));
(async () => {
"""
POSTLUDE = """
})().then(value => resolve({ value: value ?? null }), error => resolve({ error: `${error} ${error.stack ?? ""}` }));
"""

SET_UP = """
const given = arguments[0];
const login = (scheme, port) => {
    const one = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    one.init(`${scheme}://localhost`, null, `${scheme}://localhost`, given.user, given.password, "", "");
    return Services.logins.addLoginAsync(one);
};
await login("imap");
await login("smtp");
const made = MailServices.accounts.createIncomingServer(given.user, "localhost", "imap");
made.port = given.imaps;
made.socketType = Ci.nsMsgSocketType.SSL;
made.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
made.password = given.password;
const out = MailServices.outgoingServer.createServer("smtp");
out.QueryInterface(Ci.nsISmtpServer);
out.hostname = "localhost";
out.port = given.submissions;
out.username = given.user;
out.socketType = Ci.nsMsgSocketType.SSL;
out.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
MailServices.outgoingServer.defaultServer = out;
const identity = MailServices.accounts.createIdentity();
identity.email = given.address;
identity.fullName = "Jürgen Größe";
identity.smtpServerKey = out.key;
const account = MailServices.accounts.createAccount();
account.addIdentity(identity);
account.incomingServer = made;
MailServices.accounts.defaultAccount = account;
const main = await until("the window", () => Services.wm.getMostRecentWindow("mail:3pane")?.msgWindow);
made.performExpand(main);
await until("folders", () => called("Trash") && called("Sent"));
return server().rootFolder.descendants.map(one => [one.name, one.getFlag(Ci.nsMsgFolderFlags.SentMail)]);
"""

OPEN_INBOX = """
const inbox = folder("INBOX");
await update(inbox);
await until("all mails", async () => { await update(inbox); return mails(inbox).length >= arguments[0]; });
return mails(inbox).map(one => one.mime2DecodedSubject);
"""

READ = """
const inbox = folder("INBOX");
const { MimeMessage, MsgHdrToMimeMessage } =
    ChromeUtils.importESModule("resource:///modules/gloda/MimeMessage.sys.mjs");
const one = find(inbox, arguments[0]);
const text = await new Promise(done => MsgHdrToMimeMessage(one, null, (_hdr, mime) => done(mime), true));
inbox.markMessagesRead([one], true);
return { body: text.coerceBodyToPlaintext(inbox), attachments: text.allUserAttachments.map(part => part.name) };
"""

FLAG = """
const inbox = folder("INBOX");
const one = find(inbox, arguments[0]);
inbox.markMessagesFlagged([one], true);
inbox.addKeywordsToMessages([one], "$label1");
"""

FOLDERS = """
const root = server().rootFolder;
root.createSubfolder("Projekte", null);
await until("the folder", () => called("Projekte"));
folder("Projekte").createSubfolder("Übung & 日本", null);
await until("the folder below", () => called("Projekte/Übung & 日本"));
folder("Projekte/Übung & 日本").rename("Umbenannt", null);
await until("the new name", () => called("Projekte/Umbenannt"));
"""

MOVE_AND_COPY = """
const inbox = folder("INBOX"), target = folder("Projekte/Umbenannt");
const copy = (subject, moves) => copied(listener => MailServices.copy.copyMessages(
    inbox, [find(inbox, subject)], target, moves, listener, null, false));
const two = ["mail 1", "mail 2"];
copy(two[0], true);
await until("the move", async () => {
    await update(target);
    await update(inbox);
    return find(target, two[0]) && !find(inbox, two[0]);
});
copy(two[1], false);
await until("the copy", async () => { await update(target); return find(target, two[1]); });
return mails(target).map(one => one.mime2DecodedSubject);
"""

DELETE = """
const inbox = folder("INBOX"), trash = folder("Trash");
inbox.deleteMessages([find(inbox, "mail 3")], null, false, false, null, false);
await until("the mail in Trash", async () => { await update(trash); return find(trash, "mail 3"); });
await until("one less", async () => { await update(inbox); return !find(inbox, "mail 3"); });
inbox.compact(null, null);
trash.emptyTrash(null);
await until("an empty trash", async () => { await update(trash); return trash.getTotalMessages(false) == 0; });
"""

SEARCH = """
const inbox = folder("INBOX");
const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, inbox);
const term = session.createTerm(), value = term.value;
term.attrib = Ci.nsMsgSearchAttrib[arguments[0]];
term.op = Ci.nsMsgSearchOp.Contains;
value.attrib = term.attrib;
value.str = arguments[1];
term.value = value;
session.appendTerm(term);
const found = [];
await new Promise(done => {
    session.registerListener({
        onNewSearch() {}, onSearchHit(one) { found.push(one.mime2DecodedSubject); }, onSearchDone() { done(); }
    });
    session.search(null);
});
return found.sort();
"""

SEND = """
const given = arguments[0];
const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
fields.to = given.address;
fields.subject = "Geschrieben in Thunderbird: größer";
fields.body = "Grüße\\r\\n.\\r\\n..\\r\\nEnde\\r\\n";
fields.forcePlainText = true;
const parameters = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
parameters.composeFields = fields;
parameters.identity = MailServices.accounts.defaultAccount.defaultIdentity;
parameters.format = Ci.nsIMsgCompFormat.PlainText;
const compose = MailServices.compose.initCompose(parameters);
const progress = Cc["@mozilla.org/messenger/progress;1"].createInstance(Ci.nsIMsgProgress);
await compose.sendMsg(Ci.nsIMsgSend.nsMsgDeliverNow, parameters.identity, MailServices.accounts.defaultAccount.key,
                      null, progress);
const sent = folder("Sent");
await until("the copy in Sent", async () => { await update(sent); return find(sent, fields.subject); });
const inbox = folder("INBOX");
await until("the mail", async () => { await update(inbox); return find(inbox, fields.subject); });
"""

OFFLINE = """
const inbox = folder("INBOX");
inbox.setFlag(Ci.nsMsgFolderFlags.Offline);
await new Promise(done => inbox.downloadAllForOffline(
    { OnStartRunningUrl() {}, OnStopRunningUrl() { done(); } }, null));
await until("all mails here", () => mails(inbox).every(one => one.flags & Ci.nsMsgMessageFlags.Offline));
Services.io.offline = true;
const one = find(inbox, "mail 4");
inbox.markMessagesRead([one], true);
inbox.markMessagesFlagged([one], true);
Services.io.offline = false;
Cc["@mozilla.org/messenger/offline-manager;1"].getService(Ci.nsIMsgOfflineManager).goOnline(
    false, true, Services.wm.getMostRecentWindow("mail:3pane").msgWindow);
await update(inbox);
return mails(inbox).length;
"""

SEEN_BY_THE_OTHER = """
const inbox = folder("INBOX");
return await until("what the other did", async () => {
    await update(inbox);
    const flagged = mails(inbox).filter(one => one.isFlagged).map(one => one.mime2DecodedSubject).sort();
    const gone = !find(inbox, "mail 1") && !find(inbox, "mail 3");
    return gone && flagged.length >= arguments[0] && flagged;
});
"""

TOGETHER = """
const inbox = folder("INBOX");
for (const one of mails(inbox).filter(mail => Number(mail.mime2DecodedSubject.split(" ")[1]) % 2 == arguments[0])) {
    inbox.addKeywordsToMessages([one], `$label${arguments[0] + 2}`);
    await sleep(20);
}
"""

LABELS = """
const inbox = folder("INBOX");
const keywords = one => one.getStringProperty("keywords").split(" ");
const labels = () => mails(inbox).map(one => keywords(one).filter(word => /label[23]/.test(word)).sort());
await until("all labels", async () => { await update(inbox); return labels().flat().length >= arguments[0]; });
return Object.fromEntries(mails(inbox).map((one, n) => [one.mime2DecodedSubject, labels()[n]]));
"""

SHOW = """
const tab = window.document.getElementById("tabmail");
const about = tab.currentAbout3Pane;
about.displayFolder(folder("INBOX").URI);
await until("rows", () => about.gDBView && about.gDBView.rowCount > 3);
about.threadTree.selectedIndex = 2;
await sleep(3000);
"""


@contextlib.contextmanager
def running(given: dict[str, Any], name: str, port: int) -> Iterator[Marionette]:
    """A Thunderbird with a new profile, which trusts the CA because a policy says so."""
    home = Path(given["directory"]) / name
    program = home / "thunderbird"
    shutil.copytree(INSTALLED, program, copy_function=os.symlink)
    for binary in ("thunderbird", "thunderbird-bin"):
        (program / binary).unlink(missing_ok=True)
        shutil.copy((INSTALLED / binary).resolve(), program / binary)
    shutil.rmtree(program / "distribution", ignore_errors=True)
    (program / "distribution").mkdir()
    policy = {"policies": {"Certificates": {"Install": [given["ca"]]}, "DisableAppUpdate": True}}
    (program / "distribution" / "policies.json").write_text(json.dumps(policy))
    profile = home / "profile"
    profile.mkdir()
    preferences = PREFERENCES | {"marionette.port": port}
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in preferences.items()]
    (profile / "user.js").write_text("".join(lines))
    command = [program / "thunderbird-bin", "--profile", profile, "--no-remote", "--marionette",
               "--remote-allow-system-access"]
    environment = {**os.environ, "HOME": str(home), "MOZ_CRASHREPORTER_DISABLE": "1"}
    log = (home / "log").open("w")
    process = subprocess.Popen([str(part) for part in command], env=environment, stdout=log, stderr=log,
                               start_new_session=True)
    try:
        client = Marionette("127.0.0.1", port=port)
        wait_for(client, process)
        yield client
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(client: Marionette, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(120):
        if process.poll() is not None:
            raise SystemExit(f"thunderbird ended: {process.returncode}")
        try:
            client.start_session()
            break
        except OSError:
            time.sleep(0.5)
    client.timeout.script = SECONDS
    client.set_context(client.CONTEXT_CHROME)


def run(client: Marionette, script: str, *arguments: Any) -> Any:
    try:
        answer = client.execute_async_script(PRELUDE + script + POSTLUDE, script_args=arguments, sandbox="system")
    except errors.ScriptTimeoutException:
        raise SystemExit(f"no end of: {script}") from None
    if "error" in answer:
        raise SystemExit(answer["error"])
    return answer["value"]


def expect(step: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise SystemExit(f"{step}: {found!r}, not {wanted!r}")
    print(f"ok: {step}", flush=True)


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    port = given["marionette"]
    with running(given, "first", port) as first, running(given, "second", port + 1) as second:
        names = run(first, SET_UP, given)
        expect("set up", {name for name, _ in names} >= {"Sent", "Drafts", "Trash", "Junk"}, True)
        expect("Sent is the folder for sent mail", [name for name, sent in names if sent], ["Sent"])
        subjects = run(first, OPEN_INBOX, given["mails"])
        expect("the mails", sorted(subjects), sorted(given["subjects"]))
        mail = run(first, READ, "Größe")
        expect("read", (mail["body"].strip(), mail["attachments"]), ("Grüße aus dem Körper", ["Übersicht.txt"]))
        run(first, SHOW)
        picture = Path(given["directory"]) / "thunderbird.png"
        picture.write_bytes(base64.b64decode(first.screenshot(full=False)))
        run(first, FLAG, "mail 0")
        print("ok: flag")
        run(first, FOLDERS)
        print("ok: folders")
        expect("move and copy", sorted(run(first, MOVE_AND_COPY)), ["mail 1", "mail 2"])
        run(first, DELETE)
        print("ok: delete")
        expect("search in bodies", run(first, SEARCH, "Body", "körper"), ["Größe"])
        expect("search in subjects", run(first, SEARCH, "Subject", "mail 4"), ["mail 4"])
        run(first, SEND, given)
        print("ok: send")
        expect("offline", run(first, OFFLINE), given["mails"] - 1)
        run(second, SET_UP, given)
        run(second, OPEN_INBOX, given["mails"] - 1)
        expect("the other client sees it", run(second, SEEN_BY_THE_OTHER, 2), ["mail 0", "mail 4"])
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(run, (first, second), (TOGETHER, TOGETHER), (0, 1)))
        labelled = run(first, LABELS, 6)
        expect("both label at once", {name: labels for name, labels in labelled.items() if labels},
               {f"mail {number}": [f"$label{number % 2 + 2}"] for number in (0, 2, 4, 5, 6, 7)})
        expect("and see the same", run(second, LABELS, 6), labelled)
        print("all done")


if __name__ == "__main__":
    main()
