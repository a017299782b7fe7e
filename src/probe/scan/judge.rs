//! Replies to answers: what each one says about the version, class or group that was asked for. Pure.
//!
//! Only a `ServerHello` is a yes. A plain no is one the server said itself. All else needs a second hello of another
//! shape, and stays unknown unless both were refused.

use super::{
    reply::{End, Reply, ServerHello},
    suites,
};
use crate::model::{Answer, Confidence, Finding, Reason, TlsVersion};

/// What one reply says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Opinion {
    /// Accepted.
    Yes(String),
    /// Refused, as the server itself says.
    No(String),
    /// Refused, but perhaps for something else in the hello; and how sure a second refusal makes it.
    Doubtful(Confidence, String),
    /// Nothing.
    Unclear(String),
}

impl Opinion {
    /// Whether a second hello, of another shape, is to be asked.
    pub(crate) fn wants_second(&self) -> bool {
        matches!(self, Self::Doubtful(..) | Self::Unclear(_))
    }
}

/// Whether `asked` is offered, after a hello that had it as its newest version and listed `offered`.
pub(crate) fn version(asked: TlsVersion, offered: &[u16], reply: &Reply) -> Opinion {
    match reply {
        Reply::Hello(hello) if !offered.contains(&hello.suite) => Opinion::Unclear(NOT_OFFERED.into()),
        Reply::Hello(hello) => match hello.known_version() {
            Some(version) if version == asked => Opinion::Yes(choice(hello)),
            Some(version) if version < asked => Opinion::No(format!("it answered in {version}")),
            _ => Opinion::Unclear("it answered in a version that was not offered".into()),
        },
        Reply::Alert(PROTOCOL_VERSION) => Opinion::No(words(reply)),
        Reply::Alert(HANDSHAKE_FAILURE) => doubtful(words(reply)),
        // OpenSSL 3 says so of a version whose digests its security level forbids.
        Reply::Alert(INTERNAL_ERROR) if asked <= TlsVersion::Tls11 => Opinion::Doubtful(Confidence::Low, words(reply)),
        other => Opinion::Unclear(words(other)),
    }
}

/// Whether a suite of the class is accepted, after a hello up to TLS 1.2 that offered nothing but the class.
pub(crate) fn class(offered: &[u16], reply: &Reply) -> Opinion {
    match reply {
        Reply::Hello(hello) if offered.contains(&hello.suite) => Opinion::Yes(choice(hello)),
        Reply::Hello(_) => Opinion::Unclear(NOT_OFFERED.into()),
        Reply::Alert(HANDSHAKE_FAILURE | PROTOCOL_VERSION | INSUFFICIENT_SECURITY) => doubtful(words(reply)),
        other => Opinion::Unclear(words(other)),
    }
}

/// Whether the group is accepted, after a hello of TLS 1.3 that offered nothing but it.
pub(crate) fn group(asked: u16, reply: &Reply) -> Opinion {
    match reply {
        Reply::Hello(hello) if hello.known_version() != Some(TlsVersion::Tls13) => {
            Opinion::Unclear("it answered in a version that was not offered".into())
        }
        Reply::Hello(hello) if hello.group == Some(asked) => {
            Opinion::Yes(if hello.retry { "it asked for a key share of it" } else { "it chose it" }.into())
        }
        Reply::Hello(_) => Opinion::Unclear("it chose a group that was not offered".into()),
        Reply::Alert(HANDSHAKE_FAILURE | INSUFFICIENT_SECURITY) => doubtful(words(reply)),
        other => Opinion::Unclear(words(other)),
    }
}

/// Whether the group is accepted, after a hello up to TLS 1.2 with ECDHE suites and the group first among the groups.
pub(crate) fn curve(asked: u16, reply: &Reply) -> Opinion {
    match reply {
        Reply::Hello(hello) if hello.group == Some(asked) => Opinion::Yes("it chose it".into()),
        Reply::Hello(hello) if !suites::is_ecdhe(hello.suite) => {
            doubtful(format!("{}, which needs no group", choice(hello)))
        }
        Reply::Hello(_) => Opinion::Unclear("it chose another group, which its certificate needs".into()),
        Reply::Alert(HANDSHAKE_FAILURE | INSUFFICIENT_SECURITY) => doubtful(words(reply)),
        other => Opinion::Unclear(words(other)),
    }
}

/// The finding of one or two opinions.
pub(crate) fn conclude(first: Opinion, second: Option<Opinion>) -> Finding {
    let high = |answer, why| Finding { answer, confidence: Confidence::High, why };
    match (first, second) {
        (Opinion::Yes(why), _) | (_, Some(Opinion::Yes(why))) => high(Answer::Yes, why),
        (Opinion::No(why), _) | (_, Some(Opinion::No(why))) => high(Answer::No, why),
        (Opinion::Doubtful(sure, one), Some(Opinion::Doubtful(sure_too, two))) => {
            Finding { answer: Answer::No, confidence: sure.min(sure_too), why: both(&one, &two) }
        }
        (
            Opinion::Unclear(one) | Opinion::Doubtful(_, one),
            Some(Opinion::Unclear(two) | Opinion::Doubtful(_, two)),
        ) => Finding::unknown(both(&one, &two)),
        (Opinion::Unclear(why) | Opinion::Doubtful(_, why), None) => Finding::unknown(why),
    }
}

fn both(one: &str, two: &str) -> String {
    if one == two { format!("twice: {one}") } else { format!("{one}, then {two}") }
}

fn doubtful(why: String) -> Opinion {
    Opinion::Doubtful(Confidence::Medium, why)
}

/// Takes back a no that the server did not say itself, because it no longer answers what it answered before.
pub(crate) fn take_back(finding: &mut Finding) {
    if finding.answer == Answer::No && finding.confidence < Confidence::High {
        *finding = Finding::unknown(format!("{}; but at the end it refused the control hello too", finding.why));
    }
}

/// Why a scan cannot begin, when this is the reply to a hello that every TLS server should answer.
pub(crate) fn reason(reply: &Reply) -> Reason {
    match reply {
        Reply::Hello(_) | Reply::Alert(PROTOCOL_VERSION) => Reason::VersionUnsupported,
        Reply::Alert(HANDSHAKE_FAILURE | INSUFFICIENT_SECURITY | NO_APPLICATION_PROTOCOL) => Reason::NoSharedParameters,
        Reply::Alert(UNRECOGNIZED_NAME) => Reason::UnrecognizedName,
        Reply::Alert(_) => Reason::TlsAlert,
        Reply::Ended { how: End::Closed, .. } | Reply::Unreached(_) => Reason::Broken,
        Reply::Ended { how: End::Reset, .. } => Reason::Reset,
        Reply::Ended { how: End::Stalled, .. } => Reason::Timeout,
        Reply::NotTls | Reply::Garbage(_) => Reason::NotTls,
    }
}

/// A reply for a person.
pub(crate) fn words(reply: &Reply) -> String {
    match reply {
        Reply::Hello(hello) => choice(hello),
        Reply::Alert(description) => format!("alert {description} ({})", alert_name(*description)),
        Reply::Ended { how, begun } => {
            let when = if *begun { "in the middle of its answer" } else { "without an answer" };
            let what = match how {
                End::Closed => "it closed the connection",
                End::Reset => "it reset the connection",
                End::Stalled => "it fell silent",
            };
            format!("{what} {when}")
        }
        Reply::NotTls => "it answered in something else than TLS".into(),
        Reply::Garbage(what) => format!("it sent {what}"),
        Reply::Unreached(why) => why.clone(),
    }
}

const NOT_OFFERED: &str = "it chose a cipher suite that was not offered";

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;
const INSUFFICIENT_SECURITY: u8 = 71;
const INTERNAL_ERROR: u8 = 80;
pub(super) const UNRECOGNIZED_NAME: u8 = 112;
const NO_APPLICATION_PROTOCOL: u8 = 120;

fn choice(hello: &ServerHello) -> String {
    let suite = suites::name(hello.suite).map_or_else(|| format!("{:#06x}", hello.suite), str::to_owned);
    format!("it chose {suite}")
}

/// IANA's name of an alert that is met before a `ServerHello`.
fn alert_name(description: u8) -> &'static str {
    match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "unassigned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: u16 = 0x002f;
    const ECDHE: u16 = 0xc02f;

    fn hello(version: u16, suite: u16, group: Option<u16>) -> Reply {
        Reply::Hello(Box::new(ServerHello { version, suite, group, ..ServerHello::default() }))
    }

    fn ended(how: End, begun: bool) -> Reply {
        Reply::Ended { how, begun }
    }

    /// The kind of an opinion, without its words.
    fn kind(opinion: &Opinion) -> char {
        match opinion {
            Opinion::Yes(_) => 'y',
            Opinion::No(_) => 'n',
            Opinion::Doubtful(..) => 'd',
            Opinion::Unclear(_) => 'u',
        }
    }

    /// One row per kind of reply to the question whether TLS 1.2 is offered.
    #[test]
    fn a_version_by_what_was_answered() {
        for (reply, expected) in [
            (hello(0x0303, ECDHE, None), 'y'),
            (hello(0x0302, ECDHE, None), 'n'),
            (hello(0x0300, ECDHE, None), 'n'),
            (hello(0x0304, ECDHE, None), 'u'),
            (hello(0x0399, ECDHE, None), 'u'),
            (hello(0x0303, 0x1301, None), 'u'),
            (Reply::Alert(70), 'n'),
            (Reply::Alert(40), 'd'),
            (Reply::Alert(71), 'u'),
            (Reply::Alert(86), 'u'),
            (Reply::Alert(47), 'u'),
            (Reply::Alert(50), 'u'),
            (Reply::Alert(109), 'u'),
            (Reply::Alert(110), 'u'),
            (Reply::Alert(112), 'u'),
            (Reply::Alert(80), 'u'),
            (Reply::Alert(120), 'u'),
            (Reply::Alert(116), 'u'),
            (ended(End::Closed, false), 'u'),
            (ended(End::Reset, false), 'u'),
            (ended(End::Stalled, false), 'u'),
            (ended(End::Closed, true), 'u'),
            (Reply::Unreached("refused".into()), 'u'),
            (Reply::NotTls, 'u'),
            (Reply::Garbage("junk"), 'u'),
        ] {
            assert_eq!(kind(&version(TlsVersion::Tls12, &[RSA, ECDHE], &reply)), expected, "{reply:?}");
        }
    }

    #[test]
    fn an_internal_error_refuses_only_what_is_known_to_cause_it() {
        for (asked, expected) in [(TlsVersion::Tls13, 'u'), (TlsVersion::Tls12, 'u'), (TlsVersion::Tls11, 'd')] {
            assert_eq!(kind(&version(asked, &[RSA], &Reply::Alert(80))), expected, "{asked}");
        }
    }

    #[test]
    fn a_retry_is_a_yes_for_tls_13() {
        let retry = ServerHello { version: 0x0304, suite: 0x1301, retry: true, ..ServerHello::default() };
        assert_eq!(kind(&version(TlsVersion::Tls13, &[0x1301], &Reply::Hello(Box::new(retry)))), 'y');
        assert_eq!(kind(&version(TlsVersion::Tls13, &[0x1301, ECDHE], &hello(0x0303, ECDHE, None))), 'n');
    }

    #[test]
    fn a_class_by_what_was_answered() {
        for (reply, expected) in [
            (hello(0x0303, RSA, None), 'y'),
            (hello(0x0301, RSA, None), 'y'),
            (hello(0x0303, ECDHE, None), 'u'),
            (Reply::Alert(40), 'd'),
            (Reply::Alert(71), 'd'),
            (Reply::Alert(70), 'd'),
            (Reply::Alert(47), 'u'),
            (ended(End::Reset, false), 'u'),
        ] {
            assert_eq!(kind(&class(&[RSA], &reply)), expected, "{reply:?}");
        }
    }

    #[test]
    fn a_group_by_what_was_answered() {
        let retry = |group| {
            let hello = ServerHello { version: 0x0304, suite: 0x1301, retry: true, group, ..ServerHello::default() };
            Reply::Hello(Box::new(hello))
        };
        for (reply, expected) in [
            (retry(Some(0x11ec)), 'y'),
            (hello(0x0304, 0x1301, Some(0x11ec)), 'y'),
            (retry(Some(0x001d)), 'u'),
            (retry(None), 'u'),
            (hello(0x0303, ECDHE, Some(0x11ec)), 'u'),
            (Reply::Alert(40), 'd'),
            (Reply::Alert(71), 'd'),
            (Reply::Alert(47), 'u'),
            (Reply::Alert(109), 'u'),
            (ended(End::Stalled, false), 'u'),
        ] {
            assert_eq!(kind(&group(0x11ec, &reply)), expected, "{reply:?}");
        }
        for (reply, expected) in [
            (hello(0x0303, ECDHE, Some(0x0017)), 'y'),
            (hello(0x0303, ECDHE, Some(0x0018)), 'u'),
            (hello(0x0303, RSA, None), 'd'),
            (Reply::Alert(40), 'd'),
            (Reply::Alert(80), 'u'),
        ] {
            assert_eq!(kind(&curve(0x0017, &reply)), expected, "{reply:?}");
        }
    }

    #[test]
    fn only_two_refusals_or_the_servers_own_word_make_a_no() {
        let opinion = |kind| match kind {
            'y' => Opinion::Yes("y".into()),
            'n' => Opinion::No("n".into()),
            'd' => doubtful("d".into()),
            'l' => Opinion::Doubtful(Confidence::Low, "l".into()),
            _ => Opinion::Unclear("u".into()),
        };
        for (first, second, answer, confidence) in [
            ('y', None, Answer::Yes, Confidence::High),
            ('n', None, Answer::No, Confidence::High),
            ('d', Some('d'), Answer::No, Confidence::Medium),
            ('l', Some('d'), Answer::No, Confidence::Low),
            ('l', Some('u'), Answer::Unknown, Confidence::Low),
            ('d', Some('y'), Answer::Yes, Confidence::High),
            ('u', Some('y'), Answer::Yes, Confidence::High),
            ('u', Some('n'), Answer::No, Confidence::High),
            ('d', Some('n'), Answer::No, Confidence::High),
            ('d', Some('u'), Answer::Unknown, Confidence::Low),
            ('u', Some('d'), Answer::Unknown, Confidence::Low),
            ('u', Some('u'), Answer::Unknown, Confidence::Low),
            ('d', None, Answer::Unknown, Confidence::Low),
            ('u', None, Answer::Unknown, Confidence::Low),
        ] {
            let found = conclude(opinion(first), second.map(opinion));
            assert_eq!((found.answer, found.confidence), (answer, confidence), "{first} {second:?}");
            assert_eq!(opinion(first).wants_second(), matches!(first, 'd' | 'l' | 'u'));
        }
    }

    #[test]
    fn a_failed_control_takes_back_what_was_concluded_and_leaves_what_was_said() {
        let mut concluded = conclude(doubtful("d".into()), Some(doubtful("d".into())));
        take_back(&mut concluded);
        assert_eq!(concluded.answer, Answer::Unknown);
        for said in [Opinion::Yes("y".into()), Opinion::No("n".into())] {
            let before = conclude(said, None);
            let mut after = before.clone();
            take_back(&mut after);
            assert_eq!(after, before);
        }
    }

    #[test]
    fn a_failed_control_hello_has_its_reason() {
        for (reply, expected) in [
            (Reply::Alert(70), Reason::VersionUnsupported),
            (Reply::Alert(40), Reason::NoSharedParameters),
            (Reply::Alert(112), Reason::UnrecognizedName),
            (Reply::Alert(80), Reason::TlsAlert),
            (ended(End::Closed, true), Reason::Broken),
            (ended(End::Reset, false), Reason::Reset),
            (ended(End::Stalled, true), Reason::Timeout),
            (Reply::NotTls, Reason::NotTls),
            (Reply::Garbage("junk"), Reason::NotTls),
        ] {
            assert_eq!(reason(&reply), expected, "{reply:?}");
        }
    }
}
