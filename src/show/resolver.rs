//! What name servers said, and which addresses were dialled, each in one line.

use super::text::millis;
use crate::model::{Dial, DialOutcome, DnsAnswer, IpFamily};

/// Who answered what for one family.
pub(super) fn answer(answer: &DnsAnswer) -> String {
    let family = answer.family.map_or("addresses", IpFamily::as_str);
    let server = answer.server.as_deref().unwrap_or("nobody answered");
    let mut parts = vec![format!("{family}: {server}")];
    parts.extend(answer.code.as_ref().map(ToString::to_string));
    parts.push(match answer.addresses {
        1 => "1 address".to_owned(),
        many => format!("{many} addresses"),
    });
    parts.extend(answer.alias_of.as_ref().map(|name| format!("alias of {name}")));
    parts.extend(answer.ttl.map(|ttl| format!("good for {} s", ttl.as_secs())));
    parts.push(millis(answer.took));
    parts.extend((!answer.age.is_zero()).then(|| format!("learned {} s ago", answer.age.as_secs())));
    parts.extend(answer.stale.then(|| "stale: no new answer could be had".to_owned()));
    parts.join(", ")
}

/// How one of several attempts to connect ended.
pub(super) fn dial(dial: &Dial) -> String {
    match &dial.outcome {
        DialOutcome::Won => format!("{}: answered first", dial.address),
        DialOutcome::Failed(reason, cause) => format!("{}: {reason} ({cause})", dial.address),
        DialOutcome::GivenUp => format!("{}: given up", dial.address),
    }
}
