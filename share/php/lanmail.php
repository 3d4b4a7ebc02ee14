<?php
/* Sends mail that lanmail has put into spool/ beside this file.
 *
 * A call alone sends nothing: it must name a file that came here by FTP or SFTP, and carry an HMAC over all its fields
 * made with the script password, the time, and a number used once. What was sent is noted in spool/ID.done before the
 * answer, so a call whose answer was lost can be repeated.
 *
 *   POST v=1 op=ping|send|status|delete id=ID ts=UNIX nonce=HEX sha256=HEX mac=HEX
 *   200 {"ok":true,"id":…,"sent":[…],"failed":{address:"550 …"}}    anything else: try again later
 *
 * PHP 5.3 and newer. Its settings are in lanmail_config.php, which lanmail writes when it uploads these files.
 */
define('LANMAIL', 1);
define('LANMAIL_WINDOW', 300);
define('LANMAIL_DAYS', 14);
error_reporting(0);
ini_set('display_errors', '0');
ignore_user_abort(true);
@set_time_limit(600);

function lanmail_answer($status, $fields)
{
    $names = array(200 => 'OK', 400 => 'Bad Request', 403 => 'Forbidden', 404 => 'Not Found', 405 => 'Method Not Allowed',
        409 => 'Conflict', 423 => 'Locked', 500 => 'Internal Server Error', 503 => 'Service Unavailable');
    $protocol = isset($_SERVER['SERVER_PROTOCOL']) ? $_SERVER['SERVER_PROTOCOL'] : 'HTTP/1.1';
    $kind = substr(php_sapi_name(), 0, 3);
    header($kind === 'cgi' || $kind === 'fpm' ? 'Status: ' . $status . ' ' . $names[$status]
        : $protocol . ' ' . $status . ' ' . $names[$status], true, $status);
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    $text = json_encode($fields);
    echo $text === false || $text === null ? '{"ok":false,"error":"the answer cannot be written"}' : $text;
    exit;
}

function lanmail_refuse($status, $why)
{
    lanmail_answer($status, array('ok' => false, 'error' => $why));
}

function lanmail_equal($known, $given)
{
    if (function_exists('hash_equals')) {
        return hash_equals($known, $given);
    }
    $different = strlen($known) ^ strlen($given);
    for ($i = 0, $length = min(strlen($known), strlen($given)); $i < $length; $i++) {
        $different |= ord($known[$i]) ^ ord($given[$i]);
    }
    return $different === 0;
}

function lanmail_field($name, $pattern)
{
    $value = isset($_POST[$name]) && is_string($_POST[$name]) ? $_POST[$name] : '';
    if (!preg_match($pattern, $value)) {
        lanmail_refuse(400, "the field $name is missing or wrong");
    }
    return $value;
}

/* The call, once it is known to come from who has the password. */
function lanmail_call($config)
{
    if (!isset($_SERVER['REQUEST_METHOD']) || $_SERVER['REQUEST_METHOD'] !== 'POST') {
        lanmail_refuse(405, 'POST only');
    }
    $call = array('v' => lanmail_field('v', '/^1\z/'), 'op' => lanmail_field('op', '/^(ping|send|status|delete)\z/'),
        'id' => lanmail_field('id', '/^[A-Za-z0-9-]{8,64}\z/'), 'ts' => lanmail_field('ts', '/^[0-9]{1,12}\z/'),
        'nonce' => lanmail_field('nonce', '/^[0-9a-f]{16,64}\z/'), 'sha256' => lanmail_field('sha256', '/^[0-9a-f]{64}\z/'));
    $mac = hash_hmac('sha256', implode("\n", $call), $config['key']);
    if (!lanmail_equal($mac, lanmail_field('mac', '/^[0-9a-f]{64}\z/'))) {
        lanmail_refuse(403, 'the password is another one');
    }
    if (abs(time() - (int) $call['ts']) > LANMAIL_WINDOW) {
        lanmail_refuse(403, 'the clocks differ by more than ' . LANMAIL_WINDOW . ' seconds; here it is ' . time());
    }
    return $call;
}

function lanmail_forget($pattern, $seconds)
{
    foreach ((array) glob($pattern) as $old) {
        if (is_string($old) && @filemtime($old) < time() - $seconds) {
            @unlink($old);
        }
    }
}

/* A nonce counts once; those that are out of time are forgotten, and so is what was sent long ago. */
function lanmail_once($spool, $nonce)
{
    lanmail_forget("$spool/nonce-*", 3 * LANMAIL_WINDOW);
    foreach (array('done', 'lock', 'part', 'eml') as $kind) {
        lanmail_forget("$spool/*.$kind", LANMAIL_DAYS * 86400);
    }
    $made = @fopen("$spool/nonce-$nonce", 'x');
    if ($made === false) {
        lanmail_refuse(file_exists("$spool/nonce-$nonce") ? 409 : 500,
            file_exists("$spool/nonce-$nonce") ? 'this call was made before' : 'the directory spool cannot be written to');
    }
    fclose($made);
}

function lanmail_done($spool, $id)
{
    $text = @file_get_contents("$spool/$id.done");
    $done = $text === false ? null : json_decode($text, true);
    return is_array($done) && isset($done['sent'], $done['failed']) ? $done : array('sent' => array(), 'failed' => array());
}

function lanmail_note($spool, $id, $done)
{
    $temporary = "$spool/$id.done.part";
    if (@file_put_contents($temporary, json_encode($done), LOCK_EX) === false || !@rename($temporary, "$spool/$id.done")) {
        return false;
    }
    return true;
}

/* The envelope lines at the top of the file, and where the message starts. */
function lanmail_envelope($file)
{
    $sender = null;
    $recipients = array();
    $start = 0;
    while (($line = fgets($file, 4096)) !== false) {
        if (!preg_match('/^X-(Sender|Receiver|Origin):[ \t]*(?:<([^<>\r\n]*)>)?/i', $line, $found)) {
            break;
        }
        $start = ftell($file);
        $kind = strtolower($found[1]);
        $address = isset($found[2]) ? $found[2] : '';
        if ($kind === 'sender') {
            $sender = $address;
        } elseif ($kind === 'receiver') {
            $recipients[] = $address;
        }
    }
    foreach ($recipients as $one) {
        if (!lanmail_is_address($one)) {
            lanmail_refuse(400, 'a recipient is no address');
        }
    }
    if ($sender === null || !$recipients || ($sender !== '' && !lanmail_is_address($sender))) {
        lanmail_refuse(400, 'the file has no envelope');
    }
    return array($sender, $recipients, $start);
}

function lanmail_is_address($text)
{
    // ASCII only: escapeshellarg() may drop other octets, and make another address of it
    return strlen($text) < 500 && preg_match('/^[!-,.-;=?A-~][!-;=?A-~]*@[!-;=?A-~]+\z/', $text);
}

function lanmail_send($config, $spool, $call)
{
    $id = $call['id'];
    $lock = @fopen("$spool/$id.lock", 'c');
    if ($lock === false || !flock($lock, LOCK_EX | LOCK_NB)) {
        lanmail_refuse(423, 'the mail is being sent by another call');
    }
    $done = lanmail_done($spool, $id);
    if (!is_file("$spool/$id.eml")) {
        if ($done['sent'] || $done['failed']) {
            return $done;
        }
        lanmail_refuse(404, "spool/$id.eml is not there");
    }
    if (!lanmail_equal(hash_file('sha256', "$spool/$id.eml"), $call['sha256'])) {
        lanmail_refuse(409, 'the file is another one than was uploaded');
    }
    $file = fopen("$spool/$id.eml", 'rb');
    list($sender, $recipients, $start) = lanmail_envelope($file);
    $left = array_values(array_diff($recipients, $done['sent']));
    $done['failed'] = array();
    if ($left) {
        require_once dirname(__FILE__) . '/lanmail_send.php';
        $way = $config['mode'] === 'smtp' ? 'lanmail_by_smtp' : 'lanmail_by_mail';
        list($sent, $failed) = $way($config, $file, $start, $sender, $left);
        $done = array('sent' => array_merge($done['sent'], $sent), 'failed' => $failed);
    }
    fclose($file);
    $noted = lanmail_note($spool, $id, $done);
    if ($noted) {
        @unlink("$spool/$id.eml");
    }
    @unlink("$spool/$id.lock");
    return $done;
}

$config = @include dirname(__FILE__) . '/lanmail_config.php';
if (!is_array($config)) {
    lanmail_refuse(500, 'lanmail_config.php is missing or damaged: upload the scripts again');
}
$spool = dirname(__FILE__) . '/spool';
$call = lanmail_call($config);
if (!is_dir($spool)) {
    lanmail_refuse(500, 'the directory spool is missing: upload the scripts again');
}
lanmail_once($spool, $call['nonce']);
switch ($call['op']) {
    case 'ping':
        lanmail_answer(200, array('ok' => true, 'id' => $call['id'], 'copy' => $config['copy'], 'php' => PHP_VERSION,
            'mode' => $config['mode'], 'time' => time(), 'file' => is_file($spool . '/' . $call['id'] . '.eml')
                ? hash_file('sha256', $spool . '/' . $call['id'] . '.eml') : null));
        break;
    case 'send':
        $done = lanmail_send($config, $spool, $call);
        lanmail_answer(200, array('ok' => true, 'id' => $call['id'], 'sent' => $done['sent'],
            'failed' => (object) $done['failed']));
        break;
    case 'status':
        $done = lanmail_done($spool, $call['id']);
        lanmail_answer(200, array('ok' => true, 'id' => $call['id'], 'sent' => $done['sent'],
            'failed' => (object) $done['failed'], 'waiting' => is_file($spool . '/' . $call['id'] . '.eml')));
        break;
    default:
        foreach (array('.eml', '.eml.part', '.done', '.done.part', '.lock') as $suffix) {
            @unlink($spool . '/' . $call['id'] . $suffix);
        }
        lanmail_answer(200, array('ok' => true, 'id' => $call['id']));
}
