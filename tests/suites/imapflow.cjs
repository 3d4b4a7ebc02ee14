// Every function of imapflow, once at least, against a server; nodemailer sends the mail that is read.
// Run by test_clients.py: node imapflow.cjs, settings in the environment. Prints the name of each step that went well.
'use strict';
const assert = require('node:assert/strict');
const { ImapFlow } = require('imapflow');
const nodemailer = require('nodemailer');

const { IMAP_PORT, IMAPS_PORT, SUBMISSION_PORT, SMTPS_PORT, MAIL_USER, MAIL_PASSWORD, MAIL_ADDRESS } = process.env;
const auth = { user: MAIL_USER, pass: MAIL_PASSWORD };
const trouble = [];

function client(options) {
    const made = new ImapFlow({
        host: 'localhost', port: Number(IMAPS_PORT), secure: true, auth, logger: false, qresync: true, ...options
    });
    made.on('error', error => trouble.push(error));
    return made;
}

// not mailbox.exists: imapflow does not count what VANISHED takes away
const count = async flow => (await flow.search({ all: true })).length;

const steps = {
    async 'send with nodemailer, over TLS and STARTTLS, with attachments and umlauts'() {
        for (const [port, secure] of [[SMTPS_PORT, true], [SUBMISSION_PORT, false]]) {
            const transport = nodemailer.createTransport({ host: 'localhost', port: Number(port), secure, requireTLS: !secure, auth });
            assert.equal(await transport.verify(), true);
            const said = await transport.sendMail({
                from: `Jürgen <${MAIL_ADDRESS}>`, to: MAIL_ADDRESS, subject: `Größe über ${port}`,
                text: 'Grüße\n.\n..zwei Punkte\n', html: '<p>Grüße</p>',
                attachments: [{ filename: 'Übersicht.txt', content: 'Anhang\n'.repeat(2000) }]
            });
            assert.match(said.response, /^250/);
            transport.close();
        }
        const pool = nodemailer.createTransport({ pool: true, host: 'localhost', port: Number(SMTPS_PORT), secure: true, auth });
        await Promise.all([...Array(10).keys()].map(n => pool.sendMail({
            from: MAIL_ADDRESS, to: MAIL_ADDRESS, subject: `pool ${n}`, text: `mail ${n}` })));
        pool.close();
    },

    async 'log in by STARTTLS, and not with a wrong password'() {
        const clear = client({ port: Number(IMAP_PORT), secure: false, doSTARTTLS: true });
        await clear.connect();
        assert.ok(clear.secureConnection && clear.authenticated);
        assert.ok(clear.serverInfo && clear.serverInfo.name);
        await clear.logout();
        const wrong = client({ auth: { user: MAIL_USER, pass: 'wrong' } });
        await assert.rejects(wrong.connect(), error => error.authenticationFailed === true);
    },

    async 'wait for the mail'(flow) {
        await flow.mailboxOpen('INBOX');
        for (let n = 0; n < 100 && flow.mailbox.exists < 12; n++) {
            await new Promise(resolve => setTimeout(resolve, 100));
            await flow.noop();
        }
        assert.equal(flow.mailbox.exists, 12);
        for (const key of ['path', 'delimiter', 'flags', 'permanentFlags', 'uidValidity', 'uidNext', 'exists']) {
            assert.ok(flow.mailbox[key] !== undefined, key);
        }
        if (flow.capabilities.has('CONDSTORE')) assert.ok(flow.mailbox.highestModseq > 0n);
        if (flow.capabilities.has('OBJECTID')) assert.ok(flow.mailbox.mailboxId);
    },

    async 'list, tree, special use, status'(flow) {
        const list = await flow.list({ statusQuery: { messages: true, unseen: true, uidNext: true, uidValidity: true } });
        assert.equal(list.find(box => box.path === 'INBOX').status.messages, 12);
        for (const use of ['\\Sent', '\\Drafts', '\\Trash', '\\Junk']) {
            assert.ok(list.find(box => box.specialUse === use && box.subscribed), use);
        }
        assert.ok((await flow.listTree()).folders.length >= 5);
        const status = await flow.status('INBOX', { messages: true, recent: true, uidNext: true, uidValidity: true, unseen: true,
            highestModseq: true });
        assert.equal(status.messages, 12);
        if (flow.capabilities.has('CONDSTORE')) assert.equal(status.highestModseq, flow.mailbox.highestModseq);
        await assert.rejects(flow.status('No such box', { messages: true }));
    },

    async 'create, rename, subscribe, delete folders'(flow) {
        const made = await flow.mailboxCreate(['Projekte', 'Größe & Co']);
        assert.equal(made.created, true);
        assert.equal((await flow.mailboxCreate(['Projekte', 'Größe & Co'])).created, false);
        const renamed = await flow.mailboxRename(['Projekte', 'Größe & Co'], ['Projekte', '日本語']);
        assert.equal(renamed.newPath, ['Projekte', '日本語'].join(flow.namespace.delimiter));
        assert.equal(await flow.mailboxSubscribe(renamed.newPath), true);
        assert.ok((await flow.list()).find(box => box.path === renamed.newPath).subscribed);
        assert.equal(await flow.mailboxUnsubscribe(renamed.newPath), true);
        assert.ok(!(await flow.list()).find(box => box.path === renamed.newPath).subscribed);
        await flow.mailboxDelete(renamed.newPath);
        assert.ok(!(await flow.list()).find(box => box.path === renamed.newPath));
        await assert.rejects(flow.mailboxDelete('No such box'));
    },

    async 'fetch everything'(flow) {
        const all = await flow.fetchAll('1:*', { uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true,
            size: true, headers: ['subject', 'message-id'], threadId: true, labels: true, source: { start: 0, maxLength: 100 } });
        assert.equal(all.length, 12);
        for (const mail of all) {
            assert.ok(mail.uid && mail.size > 100 && mail.internalDate && mail.source.length === 100);
            assert.match(mail.headers.toString(), /^message-id:/im);
            assert.equal(mail.envelope.to[0].address, MAIL_ADDRESS);
            if (flow.capabilities.has('CONDSTORE')) assert.ok(mail.modseq > 0n);
            if (flow.capabilities.has('OBJECTID')) assert.ok(mail.emailId);
        }
        const rich = all.find(mail => mail.envelope.subject === `Größe über ${SMTPS_PORT}`);
        assert.equal(rich.bodyStructure.childNodes.length, 2);
        assert.equal(rich.bodyStructure.childNodes[1].dispositionParameters.filename, 'Übersicht.txt');
        const one = await flow.fetchOne(String(rich.uid), { source: true, bodyParts: ['1.1', '1.2', { key: '2', start: 10, maxLength: 20 }] },
            { uid: true });
        assert.equal(one.source.length, rich.size);
        assert.equal(one.bodyParts.get('2').length, 20);
        const { meta, content } = await flow.download(String(rich.uid), '2', { uid: true, chunkSize: 1000 });
        let text = '';
        for await (const chunk of content) text += chunk;
        assert.equal(meta.filename, 'Übersicht.txt');
        assert.equal(text.replace(/\r\n/g, '\n'), 'Anhang\n'.repeat(2000));
        const parts = await flow.downloadMany(String(rich.uid), ['1.1', '1.2'], { uid: true });
        assert.match(parts['1.1'].content.toString(), /Grüße\r?\n\.\r?\n\.\.zwei/);
        const whole = await flow.download(String(rich.uid), undefined, { uid: true });
        let bytes = 0;
        for await (const chunk of whole.content) bytes += chunk.length;
        assert.equal(bytes, rich.size);
        assert.equal(await flow.fetchOne('99999', { uid: true }, { uid: true }), false);
        const seen = [];
        for await (const mail of flow.fetch({ subject: 'pool' }, { envelope: true })) seen.push(mail.envelope.subject);
        assert.equal(seen.length, 10);
    },

    async 'search'(flow) {
        assert.equal((await flow.search({ all: true })).length, 12);
        assert.equal((await flow.search({ subject: 'GRÖSSE' })).length, 2);
        assert.equal((await flow.search({ subject: 'größe' })).length, 2);
        assert.equal((await flow.search({ or: [{ subject: 'pool 1' }, { subject: 'pool 2' }] })).length, 2);
        assert.equal((await flow.search({ seen: true }, { uid: true })).length, 0);
        assert.equal((await flow.search({ header: { subject: 'pool' }, not: { body: 'mail 3' } })).length, 9);
        assert.equal((await flow.search({ since: new Date(Date.now() - 3 * 86400e3), larger: 10000 })).length, 2);
        assert.equal((await flow.search({ before: '2001-01-01' })).length, 0);
        assert.equal((await flow.search({ body: 'Grüße', uid: '1:*' })).length, 2);
        if (flow.capabilities.has('ESEARCH')) {
            const result = await flow.search({ subject: 'pool' }, { returnOptions: ['MIN', 'MAX', 'COUNT', 'ALL'] });
            assert.equal(Number(result.count), 10);
        }
        if (flow.capabilities.has('WITHIN')) assert.ok(await flow.search({ all: true, younger: 3600 }));
    },

    async 'flags, colours, unchanged since'(flow) {
        assert.equal(await flow.messageFlagsAdd('1:3', ['\\Seen', '$Forwarded', 'Buero']), true);
        assert.equal((await flow.search({ seen: true })).length, 3);
        assert.equal((await flow.search({ keyword: 'Buero' })).length, 3);
        assert.equal(await flow.messageFlagsRemove('2', ['\\Seen']), true);
        assert.equal(await flow.messageFlagsSet('3', ['\\Flagged']), true);
        assert.deepEqual([...(await flow.fetchOne('3', { flags: true })).flags].filter(flag => flag !== '\\Recent'), ['\\Flagged']);
        await flow.setFlagColor('3', 'purple');
        assert.equal((await flow.fetchOne('3', { flags: true })).flagColor, 'purple');
        if (flow.capabilities.has('CONDSTORE')) {
            const before = flow.mailbox.highestModseq;
            await flow.messageFlagsAdd('4', ['\\Answered']);
            const changed = await flow.fetchAll('1:*', { uid: true, flags: true }, { changedSince: before });
            assert.equal(changed.length, 1);
            await flow.messageFlagsAdd('4', ['\\Draft'], { unchangedSince: before });
            assert.ok(!(await flow.fetchOne('4', { flags: true })).flags.has('\\Draft'));
        }
    },

    async 'append, copy, move, delete'(flow) {
        await flow.mailboxCreate('Ablage');
        const date = new Date('2020-02-03T04:05:06Z');
        const put = await flow.append('Ablage', 'Subject: abgelegt\r\n\r\nKörper\r\n', ['\\Seen', 'Projekt'], date);
        assert.ok(put.uid && put.uidValidity);
        const copied = await flow.messageCopy('1:2', 'Ablage');
        assert.equal(copied.uidMap.size, 2);
        const moved = await flow.messageMove('1:2', 'Ablage');
        assert.equal(moved.uidMap.size, 2);
        assert.equal(await count(flow), 10);
        const lock = await flow.getMailboxLock('Ablage', { readOnly: true });
        try {
            assert.equal(flow.mailbox.readOnly, true);
            assert.equal(flow.mailbox.exists, 5);
            const first = await flow.fetchOne('1', { internalDate: true, flags: true });
            assert.equal(first.internalDate.toISOString(), date.toISOString());
            assert.ok(first.flags.has('Projekt'));
        } finally {
            lock.release();
        }
        await flow.mailboxOpen('Ablage');
        assert.equal(await flow.messageDelete('1:*'), true);
        assert.equal(await count(flow), 0);
        await flow.mailboxClose();
        await flow.mailboxDelete('Ablage');
        await assert.rejects(flow.append('Ablage', 'Subject: x\r\n\r\n'), error => error.serverResponseCode === 'TRYCREATE');
    },

    async 'be told while idle'(flow) {
        await flow.mailboxOpen('INBOX');
        const events = [];
        for (const name of ['exists', 'expunge', 'flags']) flow.on(name, event => events.push([name, event]));
        const idling = flow.idle();
        const other = client();
        await other.connect();
        await other.mailboxOpen('INBOX');
        await other.append('INBOX', 'Subject: neu\r\n\r\nx\r\n');
        await other.messageFlagsAdd('1', ['\\Flagged', '\\Answered', '\\Draft']);
        await other.messageDelete('2');
        for (let n = 0; n < 50 && new Set(events.map(([name]) => name)).size < 3; n++) {
            await new Promise(resolve => setTimeout(resolve, 50));
        }
        await flow.noop();
        await idling;
        await other.logout();
        assert.deepEqual([...new Set(events.map(([name]) => name))].sort(), ['exists', 'expunge', 'flags']);
        assert.ok(events.find(([name]) => name === 'flags')[1].flags.has('\\Answered'));
        assert.equal(await count(flow), 10);
    },

    async 'come back with QRESYNC and hear what went on'(flow) {
        if (!flow.capabilities.has('QRESYNC')) return;
        assert.ok(flow.enabled.has('QRESYNC') && flow.enabled.has('CONDSTORE'));
        const { uidValidity, highestModseq } = flow.mailbox;
        await flow.mailboxClose();
        const other = client();
        await other.connect();
        await other.mailboxOpen('INBOX');
        const gone = (await other.fetchOne('3', { uid: true })).uid;
        await other.messageDelete('3');
        await other.messageFlagsAdd('1', ['changed']);
        await other.logout();
        const events = [];
        flow.on('expunge', event => events.push(event));
        const changes = [];
        flow.on('flags', event => changes.push(event));
        await flow.mailboxOpen('INBOX', { changedSince: highestModseq, uidValidity });
        assert.ok(events.some(event => event.vanished && event.earlier && event.uid === gone), JSON.stringify(events, replaceBig));
        assert.ok(changes.some(event => event.flags.has('changed')), JSON.stringify(changes, replaceBig));
    },

    async 'quota, compression'(flow) {
        if (flow.capabilities.has('QUOTA')) {
            const quota = await flow.getQuota('INBOX');
            assert.ok(quota === false || quota.path === 'INBOX');
        }
        const squeezed = client({ disableCompression: false });
        await squeezed.connect();
        await squeezed.mailboxOpen('INBOX');
        assert.equal((await squeezed.fetchAll('1:*', { source: true })).length, await count(squeezed));
        await squeezed.logout();
    },

    async 'eight clients at once'() {
        const all = [...Array(8).keys()].map(() => client());
        await Promise.all(all.map(one => one.connect()));
        await Promise.all(all.map(one => one.mailboxOpen('INBOX')));
        const put = await Promise.all(all.map((one, n) => one.append('INBOX', `Subject: n${n}\r\n\r\n${n}\r\n`)));
        assert.equal(new Set(put.map(answer => answer.uid)).size, 8);
        await Promise.all(all.map(one => one.noop()));
        assert.equal(new Set(all.map(one => one.mailbox.exists)).size, 1);
        await Promise.all(all.map(one => one.logout()));
    }
};

const replaceBig = (_key, value) => (typeof value === 'bigint' ? String(value) : value);

async function main() {
    const flow = client();
    await flow.connect();
    console.log(`capabilities: ${[...flow.capabilities.keys()].join(' ')}`);
    for (const [name, step] of Object.entries(steps)) {
        try {
            await step(flow);
        } catch (error) {
            error.message = `${name}: ${error.message}${error.responseText ? ` (${error.responseText})` : ''}`;
            throw error;
        }
        console.log(`ok: ${name}`);
    }
    await flow.logout();
    assert.deepEqual(trouble.filter(error => error.authenticationFailed !== true), []);
    console.log('all done');
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
