//! The protocols of lines: SMTP (RFC 3207), FTP (RFC 4217), IMAP (RFC 3501 section 6.2.1) and POP3 (RFC 2595 section 4).

use super::{StartTlsError, talk::Talk};

/// Strict servers want a name with a dot at once, and block those of this machine (`localhost`). We are no mail server, and
/// have no name that stands for one.
const EHLO: &[u8] = b"EHLO edgeprobe.invalid\r\n";

pub(super) async fn smtp(talk: &mut Talk) -> Result<(), StartTlsError> {
    reply(talk, *b"220").await?;
    talk.ask(EHLO, "the answer to EHLO").await?;
    let offers = reply(talk, *b"250").await?;
    let mut lines = offers.split_inclusive(|&byte| byte == b'\n');
    if !lines.any(|line| line.get(4..).is_some_and(|offer| starts_with_words(offer, b"STARTTLS"))) {
        return Err(talk.refusal("does not offer STARTTLS"));
    }
    talk.ask(b"STARTTLS\r\n", "the answer to STARTTLS").await?;
    reply(talk, *b"220").await.map(drop)
}

pub(super) async fn ftp(talk: &mut Talk) -> Result<(), StartTlsError> {
    reply(talk, *b"220").await?;
    talk.ask(b"AUTH TLS\r\n", "the answer to AUTH TLS").await?;
    reply(talk, *b"234").await.map(drop)
}

pub(super) async fn imap(talk: &mut Talk) -> Result<(), StartTlsError> {
    // `* PREAUTH` would leave nothing to protect, and allows no STARTTLS; `* BYE` wants us gone.
    let greeting = line(talk).await?;
    if !starts_with_words(&greeting, b"* OK") {
        return Err(talk.refused(&greeting));
    }
    talk.ask(b"a1 STARTTLS\r\n", "the answer to STARTTLS").await?;
    loop {
        let answer = line(talk).await?;
        if starts_with_words(&answer, b"a1 OK") {
            return Ok(());
        }
        let is_untagged = answer.starts_with(b"* ") && !starts_with_words(&answer, b"* BYE");
        if !is_untagged {
            return Err(talk.refused(&answer));
        }
    }
}

pub(super) async fn pop3(talk: &mut Talk) -> Result<(), StartTlsError> {
    positive(talk).await?;
    talk.ask(b"STLS\r\n", "the answer to STLS").await?;
    positive(talk).await
}

async fn positive(talk: &mut Talk) -> Result<(), StartTlsError> {
    let line = line(talk).await?;
    if starts_with_words(&line, b"+OK") { Ok(()) } else { Err(talk.refused(&line)) }
}

/// A reply of SMTP or FTP with all its lines, which must have this code (RFC 5321 section 4.2.1, RFC 959 section 4.2).
async fn reply(talk: &mut Talk, code: [u8; 3]) -> Result<Vec<u8>, StartTlsError> {
    let mut reply = line(talk).await?;
    let Some(mut next) = separator(&reply, code) else { return Err(talk.refused(&reply)) };
    while next == b'-' {
        let line = line(talk).await?;
        // FTP lets the lines between be anything.
        next = separator(&line, code).unwrap_or(b'-');
        reply.extend(line);
    }
    Ok(reply)
}

/// What stands between this code and the text: a hyphen when more lines follow.
fn separator(line: &[u8], code: [u8; 3]) -> Option<u8> {
    line.strip_prefix(&code)?.first().copied().filter(|byte| b"- \r\n".contains(byte))
}

async fn line(talk: &mut Talk) -> Result<Vec<u8>, StartTlsError> {
    talk.take_until(b'\n').await
}

/// Whether a line starts with these words, in any case, and not with longer ones.
fn starts_with_words(line: &[u8], words: &[u8]) -> bool {
    line.split_at_checked(words.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(words) && rest.first().is_some_and(u8::is_ascii_whitespace)
    })
}
