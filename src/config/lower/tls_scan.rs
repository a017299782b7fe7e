//! The `tls_scan` block.

use super::super::error::{At, Findings, wrong};
use super::super::raw::RawTlsScan;
use super::super::value;
use super::{each, ip, no_duplicates, optional, tls};
use crate::model::{CipherClass, ScanItem, TlsOptions, TlsScanModule};

/// The `tls_scan` block.
pub(super) fn block(raw: &mut RawTlsScan, at: &At, findings: &mut Findings) -> TlsScanModule {
    let server_name = raw.server_name.clone().filter(|name| !name.is_empty());
    if let Some(name) = &server_name {
        findings.take(&at.key("server_name"), tls::server_name(name));
    }
    let include_weak = *raw.include_weak.get_or_insert(false);
    let mut items = |key: &str, list: Option<&Vec<String>>| {
        let at = at.key(key);
        no_duplicates(findings, &at, list.map_or(&[], Vec::as_slice));
        let items = each(findings, &at, list, |text| value::scan_item(text));
        if !include_weak && items.contains(&ScanItem::Class(CipherClass::NullAnonymousExport)) {
            let problem = format!("`{}` is not asked for", CipherClass::NullAnonymousExport);
            findings.add(&at, wrong(problem, "add `include_weak: true`"));
        }
        items
    };
    let fail_if_accepted = items("fail_if_accepted", raw.fail_if_accepted.as_ref());
    let fail_if_not_accepted = items("fail_if_not_accepted", raw.fail_if_not_accepted.as_ref());
    if let Some(both) = fail_if_accepted.iter().find(|item| fail_if_not_accepted.contains(item)) {
        let problem = format!("`{both}` stands in `fail_if_accepted` too: every server would fail");
        findings.add(&at.key("fail_if_not_accepted"), wrong(problem, "keep one of the two"));
    }
    TlsScanModule {
        ip: ip(&mut raw.preferred_ip_protocol, &mut raw.ip_protocol_fallback, at, findings),
        tls: TlsOptions { server_name, ..TlsOptions::default() },
        starttls: optional(findings, &at.key("starttls"), raw.starttls.as_ref(), value::starttls),
        list_ciphers: *raw.list_ciphers.get_or_insert(false),
        include_weak,
        fail_if_accepted,
        fail_if_not_accepted,
        profile: optional(findings, &at.key("profile"), raw.profile.as_ref(), value::scan_profile),
    }
}
