<?php
/* The two ways out of a web space: PHP's mail() and an SMTP server. Included by lanmail.php; PHP 5.3 and newer.
 *
 * Each takes (settings, open file, where the message starts in it, sender, recipients) and gives
 * (recipients that were sent, array of recipient => answer of the others).
 */
if (!defined('LANMAIL')) {
    exit;
}

function lanmail_all_failed($recipients, $why)
{
    return array(array(), array_fill_keys($recipients, $why));
}

/* mail(), or better the program behind it: it takes the recipients as arguments and the message as it is. */
function lanmail_by_mail($config, $file, $start, $sender, $recipients)
{
    $path = trim((string) ini_get('sendmail_path'));
    $program = $path === '' ? '' : strtok($path, " \t");
    $off = array_map('trim', explode(',', (string) ini_get('disable_functions')));
    if ($program !== '' && DIRECTORY_SEPARATOR === '/' && function_exists('popen') && !in_array('popen', $off)
        && @is_executable($program)) {
        return lanmail_by_program($path, $file, $start, $sender, $recipients);
    }
    if (!function_exists('mail') || in_array('mail', $off)) {
        return lanmail_all_failed($recipients, '451 4.3.5 PHP has no mail() here; use an SMTP server');
    }
    return lanmail_by_function($file, $start, $sender, $recipients);
}

function lanmail_by_program($path, $file, $start, $sender, $recipients)
{
    $words = preg_split('/\s+/', $path);
    $command = array();
    for ($i = 0; $i < count($words); $i++) {
        if ($words[$i] === '-t' || preg_match('/^-f/', $words[$i])) {
            $i += $words[$i] === '-f' ? 1 : 0;
            continue;
        }
        $command[] = $words[$i] === '-ti' || $words[$i] === '-it' ? '-i' : $words[$i];
    }
    if (!in_array('-i', $command) && !in_array('-oi', $command)) {
        $command[] = '-i';
    }
    $command[] = '-f';
    $command[] = $sender === '' ? '<>' : $sender;
    $command[] = '--';
    $line = implode(' ', array_map('escapeshellarg', array_merge($command, $recipients)));
    $out = popen($line . ' >/dev/null 2>&1', 'w');
    if ($out === false) {
        return lanmail_all_failed($recipients, '451 4.3.0 sendmail cannot be started');
    }
    fseek($file, $start);
    $whole = true;
    while ($whole && ($piece = fread($file, 65536)) !== false && $piece !== '') {
        $whole = fwrite($out, $piece) === strlen($piece);
    }
    $code = pclose($out);
    if ($whole && $code === 0) {
        return array($recipients, array());
    }
    $answers = array(64 => '554 5.5.4', 65 => '554 5.6.0', 67 => '550 5.1.1', 68 => '550 5.1.2');
    $start = isset($answers[$code]) ? $answers[$code] : '451 4.3.0';
    return lanmail_all_failed($recipients, "$start sendmail ended with code $code");
}

/* mail() reads the recipients from To, Cc and Bcc: so only those that are meant may stand there. */
function lanmail_by_function($file, $start, $sender, $recipients)
{
    fseek($file, $start);
    $message = stream_get_contents($file);
    if (!preg_match('/^(.*?\n)\r?\n(.*)\z/s', $message, $found)) {
        $found = array('', $message, '');
    }
    $end = PHP_VERSION_ID >= 80000 ? "\r\n" : "\n";
    preg_match_all('/^[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*/m', $found[1], $fields);
    $headers = array();
    $to = $subject = '';
    $left = $recipients;
    foreach ($fields[0] as $field) {
        $name = strtolower(rtrim(strtok($field, ':')));
        $value = trim(substr($field, strpos($field, ':') + 1));
        if ($name === 'to' || $name === 'cc') {
            $kept = array();
            foreach (lanmail_members($value) as $member) {
                foreach ($left as $key => $one) {
                    if (stripos($member, $one) !== false) {
                        $kept[] = $member;
                        unset($left[$key]);
                        break;
                    }
                }
            }
            if ($kept && $name === 'to' && $to === '') {
                $to = implode(', ', $kept);
            } elseif ($kept) {
                $headers[] = ucfirst($name) . ': ' . implode(', ', $kept);
            }
        } elseif ($name === 'subject') {
            $subject = preg_replace('/\r?\n[ \t]+/', ' ', $value);
        } elseif ($name !== 'bcc') {
            $headers[] = str_replace("\n", $end, str_replace("\r\n", "\n", rtrim($field)));
        }
    }
    if ($to === '' && $left) {
        $to = array_shift($left);
    }
    if ($left) {
        $headers[] = 'Bcc: ' . implode(', ', $left);
    }
    $body = str_replace("\n", $end, str_replace("\r\n", "\n", $found[2]));
    $more = $sender === '' ? '' : '-f' . $sender;
    if (!preg_match('/^-f[A-Za-z0-9._+=@-]+\z/', $more)) {
        $more = '';
    }
    $good = $more === '' ? @mail($to, $subject, $body, implode($end, $headers))
        : @mail($to, $subject, $body, implode($end, $headers), $more);
    return $good ? array($recipients, array()) : lanmail_all_failed($recipients, '451 4.3.0 mail() took it not');
}

/* The members of an address list: commas in quotes and comments do not count. */
function lanmail_members($value)
{
    $value = preg_replace('/\r?\n[ \t]+/', ' ', $value);
    preg_match_all('/(?:"(?:[^"\\\\]|\\\\.)*"|\((?:[^()\\\\]|\\\\.)*\)|[^,"(]|["(])+/', $value, $found);
    return array_map('trim', $found[0]);
}

/* Any SMTP server, with STARTTLS or TLS, and a log-in. */
function lanmail_by_smtp($config, $file, $start, $sender, $recipients)
{
    $to = ($config['smtp_tls'] === 'implicit' ? 'ssl://' : 'tcp://') . $config['smtp_host'] . ':' . $config['smtp_port'];
    $context = stream_context_create(array('ssl' => array('verify_peer' => true, 'verify_peer_name' => true,
        'peer_name' => $config['smtp_host'], 'SNI_enabled' => true)));
    $line = @stream_socket_client($to, $number, $error, 30, STREAM_CLIENT_CONNECT, $context);
    if ($line === false) {
        return lanmail_all_failed($recipients, '451 4.4.1 no connection to ' . $config['smtp_host'] . ': ' . $error);
    }
    stream_set_timeout($line, 120);
    $trouble = lanmail_begin($line, $config);
    if ($trouble !== '') {
        fclose($line);
        return lanmail_all_failed($recipients, $trouble);
    }
    $result = lanmail_transaction($line, $file, $start, $sender, $recipients);
    lanmail_say($line, 'QUIT');
    fclose($line);
    return $result;
}

/* The answer to a line: "250 2.0.0 text", of several lines the last. */
function lanmail_say($line, $text)
{
    if ($text !== null && @fwrite($line, $text . "\r\n") === false) {
        return '451 4.4.2 the connection is lost';
    }
    for ($count = 0; $count < 100; $count++) {
        $answer = fgets($line, 2048);
        if ($answer === false || !preg_match('/^([2-5][0-9][0-9])([ -]?)(.*)/', rtrim($answer), $found)) {
            return '451 4.4.2 the connection is lost';
        }
        if ($found[2] !== '-') {
            return $found[1] . ' ' . $found[3];
        }
    }
    return '451 4.5.0 too long an answer';
}

function lanmail_begin($line, $config)
{
    $answer = lanmail_say($line, null);
    if ($answer[0] !== '2') {
        return lanmail_later($answer);
    }
    $name = 'EHLO ' . $config['helo'];
    $answer = lanmail_say($line, $name);
    if ($answer[0] !== '2') {
        return lanmail_later($answer);
    }
    if ($config['smtp_tls'] === 'starttls') {
        $answer = lanmail_say($line, 'STARTTLS');
        if ($answer[0] !== '2' || @stream_socket_enable_crypto($line, true, STREAM_CRYPTO_METHOD_TLS_CLIENT) !== true) {
            return '454 4.7.4 no TLS with ' . $config['smtp_host'] . ': ' . $answer;
        }
        $answer = lanmail_say($line, $name);
        if ($answer[0] !== '2') {
            return lanmail_later($answer);
        }
    }
    if ($config['smtp_user'] !== '') {
        $answer = lanmail_say($line, 'AUTH PLAIN '
            . base64_encode("\0" . $config['smtp_user'] . "\0" . $config['smtp_password']));
        if ($answer[0] !== '2' && ($answer = lanmail_say($line, 'AUTH LOGIN')) && $answer[0] === '3') {
            $answer = lanmail_say($line, base64_encode($config['smtp_user']));
            $answer = $answer[0] === '3' ? lanmail_say($line, base64_encode($config['smtp_password'])) : $answer;
        }
        if ($answer[0] !== '2') {
            return lanmail_later($answer);
        }
    }
    return '';
}

/* Trouble before a mail was named is the server's, not the mail's. */
function lanmail_later($answer)
{
    return '451 4.3.0 the SMTP server said: ' . $answer;
}

function lanmail_transaction($line, $file, $start, $sender, $recipients)
{
    $answer = lanmail_say($line, "MAIL FROM:<$sender>");
    if ($answer[0] !== '2') {
        return lanmail_all_failed($recipients, $answer);
    }
    $taken = $failed = array();
    foreach ($recipients as $one) {
        $answer = lanmail_say($line, "RCPT TO:<$one>");
        if ($answer[0] === '2') {
            $taken[] = $one;
        } else {
            $failed[$one] = $answer;
        }
    }
    if (!$taken) {
        return array(array(), $failed);
    }
    $answer = lanmail_say($line, 'DATA');
    if ($answer[0] === '3') {
        fseek($file, $start);
        while (($text = fgets($file)) !== false) {
            fwrite($line, ($text[0] === '.' ? '.' : '') . rtrim($text, "\r\n") . "\r\n");
        }
        $answer = lanmail_say($line, '.');
    } elseif ($answer[0] === '2') {
        $answer = lanmail_later($answer); // it has nothing of the text yet
    }
    if ($answer[0] === '2') {
        return array($taken, $failed);
    }
    foreach ($taken as $one) {
        $failed[$one] = $answer;
    }
    return array(array(), $failed);
}
