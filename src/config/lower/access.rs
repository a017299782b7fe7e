//! The `access` section: what may be asked for, and where no probe connects.

use super::super::error::{At, Findings, Wrong, wrong};
use super::super::raw::{RawAccess, RawLimit, RawTargetRule};
use super::super::value;
use super::{each, optional};
use crate::model::{Access, Limit, ModuleName, NamePattern, RateLimit, TargetRule, Trusted};
use ipnet::IpNet;
use std::{collections::BTreeMap, net::IpAddr, ops::RangeInclusive};

/// The section, whose `allowed_targets` may name any of `modules`.
pub(super) fn access<M>(raw: Option<&mut RawAccess>, modules: &BTreeMap<String, M>, findings: &mut Findings) -> Access {
    let default = Access::default();
    let Some(raw) = raw else { return default };
    let at = At::default().key("access");
    let denied =
        raw.denied_networks.get_or_insert_with(|| Access::denied_by_default().iter().map(|&n| n.into()).collect());
    Access {
        denied_networks: each(findings, &at.key("denied_networks"), Some(denied), |text| network(text)),
        allowed_networks: each(findings, &at.key("allowed_networks"), raw.allowed_networks.as_ref(), |text| {
            network(text)
        }),
        allowed_targets: raw.allowed_targets.as_ref().map(|rules| {
            let at = at.key("allowed_targets");
            rules.iter().enumerate().map(|(i, raw)| rule(raw, modules, &at.index(i), findings)).collect()
        }),
        per_client: limit(raw.per_client.as_ref(), &at.key("per_client"), findings),
        per_destination: limit(raw.per_destination.as_ref(), &at.key("per_destination"), findings),
    }
}

fn rule<M>(raw: &RawTargetRule, modules: &BTreeMap<String, M>, at: &At, findings: &mut Findings) -> TargetRule {
    let known = |name: &String| {
        let unknown = || wrong(format!("no module is named `{name}`"), "name one that is defined under `modules`");
        modules.contains_key(name).then(|| ModuleName::new(name)).ok_or_else(unknown)
    };
    let rule = TargetRule {
        names: each(findings, &at.key("names"), raw.names.as_ref(), |text| pattern(text)),
        networks: each(findings, &at.key("networks"), raw.networks.as_ref(), |text| network(text)),
        ports: each(findings, &at.key("ports"), raw.ports.as_ref(), |text| ports(text)),
        modules: each(findings, &at.key("modules"), raw.modules.as_ref(), known),
    };
    let said = [raw.names.as_ref(), raw.networks.as_ref(), raw.ports.as_ref(), raw.modules.as_ref()];
    if said.into_iter().flatten().all(Vec::is_empty) {
        let remedy =
            "write `names`, `networks`, `ports` or `modules`, or leave out `allowed_targets` to admit anything";
        findings.add(at, wrong("a rule that says nothing would admit anything", remedy));
    }
    rule
}

/// `credentials_for` of a module.
pub(super) fn credentials_for(raw: Option<&Vec<String>>, at: &At, findings: &mut Findings) -> Option<Vec<Trusted>> {
    let read = |text: &String| pattern(text).map(Trusted::Name).or_else(|_| network(text).map(Trusted::Network));
    let refused = |text: &String| {
        let remedy = "write a name such as www.example.com or *.example.com, or a network such as 10.0.0.0/8";
        read(text).map_err(|_| wrong(format!("`{text}` is neither a name nor a network"), remedy))
    };
    raw.map(|list| each(findings, &at.key("credentials_for"), Some(list), refused))
}

fn pattern(text: &str) -> Result<NamePattern, Wrong> {
    let refused = || wrong(format!("`{text}` is not a name"), "write one such as www.example.com or *.example.com");
    NamePattern::read(text).ok_or_else(refused)
}

fn network(text: &str) -> Result<IpNet, Wrong> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address());
    let refused = |_| wrong(format!("`{text}` is not a network"), "write one such as 10.0.0.0/8 or 2001:db8::/32");
    network.map(|network| network.trunc()).map_err(refused)
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, Wrong> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err(wrong(format!("`{text}` is neither a port nor a range of ports"), "write 443 or 8000-8100")),
    }
}

fn limit(raw: Option<&RawLimit>, at: &At, findings: &mut Findings) -> Limit {
    let Some(raw) = raw else { return Limit::default() };
    let interval = optional(findings, &at.key("interval"), raw.interval.as_ref(), value::duration);
    let interval = interval.filter(|interval| !interval.is_zero());
    let mut count = |key: &str, given: Option<i64>| {
        let read = given.map(|n| u32::try_from(n).ok().filter(|n| *n > 0));
        let refused = || wrong("no request would be answered", "write at least 1");
        read.and_then(|n| findings.take(&at.key(key), n.ok_or_else(refused)))
    };
    let (burst, concurrent) = (count("burst", raw.burst), count("concurrent", raw.concurrent));
    if raw.interval.is_none() && raw.burst.is_some() {
        findings
            .add(&at.key("burst"), wrong("a burst without an `interval` is no limit", "add `interval`, such as 1s"));
    }
    Limit { rate: interval.map(|interval| RateLimit { interval, burst: burst.unwrap_or(1) }), concurrent }
}
