//! The config file as written: one struct per block, one optional field per key.
//!
//! No defaults, no meaning. Unknown keys are refused by serde, wrong kinds by the reader. Lowering fills the defaults
//! in; then these types, printed, are the active config.

use crate::model::Secret;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};

/// The whole file.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) modules: Option<BTreeMap<String, RawModule>>,
    pub(super) jobs: Option<Vec<RawJob>>,
    pub(super) access: Option<RawAccess>,
}

/// The `access` section.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccess {
    pub(super) allowed_targets: Option<Vec<RawTargetRule>>,
    pub(super) denied_networks: Option<Vec<String>>,
    pub(super) allowed_networks: Option<Vec<String>>,
    pub(super) per_client: Option<RawLimit>,
    pub(super) per_destination: Option<RawLimit>,
}

/// One entry of `allowed_targets`.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTargetRule {
    pub(super) names: Option<Vec<String>>,
    pub(super) networks: Option<Vec<String>>,
    pub(super) ports: Option<Vec<String>>,
    pub(super) modules: Option<Vec<String>>,
}

/// `per_client` and `per_destination`.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimit {
    pub(super) interval: Option<String>,
    pub(super) burst: Option<i64>,
    pub(super) concurrent: Option<i64>,
}

/// One module.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModule {
    pub(super) prober: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) ip_protocol: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) connect_to: Option<String>,
    pub(super) sni: Option<String>,
    pub(super) verify_name: Option<String>,
    pub(super) credentials_for: Option<Vec<String>>,
    pub(super) resolver: Option<RawResolver>,
    pub(super) http: Option<RawHttp>,
    pub(super) websocket: Option<RawWebSocket>,
    pub(super) tls: Option<RawTls>,
    pub(super) tcp: Option<Later>,
    pub(super) dns: Option<Later>,
    pub(super) icmp: Option<Later>,
    pub(super) grpc: Option<Later>,
    pub(super) unix: Option<Later>,
    pub(super) tls_scan: Option<RawTlsScan>,
}

/// The `http` block.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    pub(super) preferred_ip_protocol: Option<String>,
    pub(super) ip_protocol_fallback: Option<bool>,
    pub(super) valid_status_codes: Option<Vec<i64>>,
    pub(super) valid_http_versions: Option<Vec<String>>,
    pub(super) method: Option<String>,
    pub(super) headers: Option<BTreeMap<String, String>>,
    pub(super) http_headers: Option<BTreeMap<String, RawHeader>>,
    pub(super) body: Option<String>,
    pub(super) body_file: Option<String>,
    pub(super) body_size_limit: Option<String>,
    pub(super) compression: Option<String>,
    pub(super) follow_redirects: Option<bool>,
    pub(super) no_follow_redirects: Option<bool>,
    pub(super) fail_if_ssl: Option<bool>,
    pub(super) fail_if_not_ssl: Option<bool>,
    pub(super) fail_if_body_matches_regexp: Option<Vec<String>>,
    pub(super) fail_if_body_not_matches_regexp: Option<Vec<String>>,
    pub(super) fail_if_header_matches: Option<Vec<RawHeaderMatcher>>,
    pub(super) fail_if_header_not_matches: Option<Vec<RawHeaderMatcher>>,
    pub(super) enable_http2: Option<bool>,
    pub(super) report_security_headers: Option<bool>,
    pub(super) basic_auth: Option<RawBasicAuth>,
    pub(super) authorization: Option<RawAuthorization>,
    pub(super) bearer_token: Option<Masked>,
    pub(super) bearer_token_file: Option<String>,
    pub(super) tls_config: Option<RawTlsConfig>,
    pub(super) fail_if_body_json_matches_cel: Option<Later>,
    pub(super) fail_if_body_json_not_matches_cel: Option<Later>,
    pub(super) skip_resolve_phase_with_proxy: Option<bool>,
    pub(super) enable_http3: Option<Later>,
    pub(super) oauth2: Option<RawOAuth2>,
    pub(super) proxy_url: Option<String>,
    pub(super) no_proxy: Option<String>,
    pub(super) proxy_from_environment: Option<bool>,
    pub(super) proxy_connect_header: Option<BTreeMap<String, Vec<Masked>>>,
    pub(super) proxy_tls_config: Option<RawTlsConfig>,
    pub(super) resolve_before_proxy: Option<bool>,
}

/// One entry of `http_headers`, or of a websocket module's `headers`.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHeader {
    pub(super) values: Option<Vec<String>>,
    pub(super) secrets: Option<Vec<Masked>>,
    pub(super) files: Option<Vec<String>>,
}

/// One entry of `fail_if_header_matches` or its opposite.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHeaderMatcher {
    pub(super) header: Option<String>,
    pub(super) regexp: Option<String>,
    pub(super) allow_missing: Option<bool>,
}

/// The `websocket` block.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebSocket {
    pub(super) preferred_ip_protocol: Option<String>,
    pub(super) ip_protocol_fallback: Option<bool>,
    pub(super) subprotocols: Option<Vec<String>>,
    pub(super) subprotocol_required: Option<bool>,
    pub(super) origin: Option<String>,
    pub(super) ping: Option<bool>,
    pub(super) headers: Option<BTreeMap<String, RawHeader>>,
    pub(super) query_response: Option<Vec<RawStep>>,
    pub(super) expect_close: Option<i64>,
    pub(super) max_message_size: Option<String>,
    pub(super) http_config: Option<RawHttpConfig>,
}

/// One entry of `query_response`.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    pub(super) expect: Option<String>,
    pub(super) expect_bytes: Option<String>,
    pub(super) expect_hex: Option<String>,
    pub(super) skip: Option<i64>,
    pub(super) send: Option<String>,
    pub(super) send_hex: Option<String>,
    pub(super) labels: Option<Later>,
    pub(super) starttls: Option<Later>,
}

/// The `http_config` block of a websocket module.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttpConfig {
    pub(super) basic_auth: Option<RawBasicAuth>,
    pub(super) authorization: Option<RawAuthorization>,
    pub(super) bearer_token: Option<Masked>,
    pub(super) bearer_token_file: Option<String>,
    pub(super) tls_config: Option<RawTlsConfig>,
    pub(super) follow_redirects: Option<Later>,
    pub(super) enable_http2: Option<Later>,
    pub(super) http_headers: Option<Later>,
    pub(super) oauth2: Option<RawOAuth2>,
    pub(super) proxy_url: Option<String>,
    pub(super) no_proxy: Option<String>,
    pub(super) proxy_from_environment: Option<bool>,
    pub(super) proxy_connect_header: Option<BTreeMap<String, Vec<Masked>>>,
    pub(super) proxy_tls_config: Option<RawTlsConfig>,
    pub(super) resolve_before_proxy: Option<bool>,
}

/// The `tls` block.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) preferred_ip_protocol: Option<String>,
    pub(super) ip_protocol_fallback: Option<bool>,
    pub(super) fail_if_expires_within: Option<String>,
    pub(super) tls_config: Option<RawTlsConfig>,
    pub(super) starttls: Option<String>,
    pub(super) proxy_url: Option<String>,
    pub(super) no_proxy: Option<String>,
    pub(super) proxy_from_environment: Option<bool>,
    pub(super) proxy_connect_header: Option<BTreeMap<String, Vec<Masked>>>,
    pub(super) proxy_tls_config: Option<RawTlsConfig>,
    pub(super) resolve_before_proxy: Option<bool>,
}

/// The `tls_scan` block.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTlsScan {
    pub(super) preferred_ip_protocol: Option<String>,
    pub(super) ip_protocol_fallback: Option<bool>,
    pub(super) server_name: Option<String>,
    pub(super) list_ciphers: Option<bool>,
    pub(super) include_weak: Option<bool>,
    pub(super) fail_if_accepted: Option<Vec<String>>,
    pub(super) fail_if_not_accepted: Option<Vec<String>>,
    pub(super) profile: Option<String>,
    pub(super) starttls: Option<String>,
    pub(super) proxy_url: Option<String>,
    pub(super) no_proxy: Option<String>,
    pub(super) proxy_from_environment: Option<bool>,
    pub(super) proxy_connect_header: Option<BTreeMap<String, Vec<Masked>>>,
    pub(super) proxy_tls_config: Option<RawTlsConfig>,
    pub(super) resolve_before_proxy: Option<bool>,
}

/// The `tls_config` block.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTlsConfig {
    pub(super) insecure_skip_verify: Option<bool>,
    pub(super) ca: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) ca_dir: Option<String>,
    pub(super) ca_ref: Option<Later>,
    pub(super) roots: Option<Vec<String>>,
    pub(super) pins: Option<Vec<String>>,
    pub(super) cert: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) cert_ref: Option<Later>,
    pub(super) key: Option<Masked>,
    pub(super) key_file: Option<String>,
    pub(super) key_ref: Option<Later>,
    pub(super) server_name: Option<String>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    pub(super) revocation: Option<RawRevocation>,
    pub(super) fetch_missing_issuers: Option<bool>,
}

/// The `revocation` block of `tls_config`.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRevocation {
    pub(super) require_staple: Option<bool>,
    pub(super) ocsp: Option<String>,
    pub(super) crl: Option<String>,
    pub(super) crl_files: Option<Vec<String>>,
    pub(super) max_age: Option<String>,
    pub(super) allow_private: Option<bool>,
}

/// The `basic_auth` block.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBasicAuth {
    pub(super) username: Option<String>,
    pub(super) username_file: Option<String>,
    pub(super) username_ref: Option<Later>,
    pub(super) password: Option<Masked>,
    pub(super) password_file: Option<String>,
    pub(super) password_ref: Option<Later>,
}

/// The `authorization` block.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuthorization {
    #[serde(rename = "type")]
    pub(super) scheme: Option<String>,
    pub(super) credentials: Option<Masked>,
    pub(super) credentials_file: Option<String>,
    pub(super) credentials_ref: Option<Later>,
}

/// The `oauth2` block.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOAuth2 {
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<Masked>,
    pub(super) client_secret_file: Option<String>,
    pub(super) client_secret_ref: Option<Later>,
    pub(super) token_url: Option<String>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) endpoint_params: Option<BTreeMap<String, Masked>>,
    pub(super) grant_type: Option<String>,
    pub(super) tls_config: Option<RawTlsConfig>,
    pub(super) client_certificate_key: Option<Later>,
    pub(super) client_certificate_key_file: Option<Later>,
    pub(super) client_certificate_key_ref: Option<Later>,
    pub(super) client_certificate_key_id: Option<Later>,
    pub(super) signature_algorithm: Option<Later>,
    pub(super) iss: Option<Later>,
    pub(super) audience: Option<Later>,
    pub(super) claims: Option<Later>,
    pub(super) proxy_url: Option<Later>,
    pub(super) no_proxy: Option<Later>,
    pub(super) proxy_from_environment: Option<Later>,
    pub(super) proxy_connect_header: Option<Later>,
}

/// The `resolver` block of a module or a job.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResolver {
    pub(super) servers: Option<Vec<String>>,
    pub(super) timeout: Option<String>,
    pub(super) attempts: Option<i64>,
    pub(super) ca_file: Option<String>,
    pub(super) use_hosts_file: Option<bool>,
    pub(super) cache: Option<bool>,
    pub(super) serve_stale: Option<String>,
}

/// One job.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawJob {
    pub(super) job_name: Option<String>,
    pub(super) modules: Option<Vec<String>>,
    pub(super) interval: Option<String>,
    pub(super) retry: Option<RawRetry>,
    pub(super) addresses: Option<String>,
    pub(super) connect_to: Option<Vec<String>>,
    pub(super) success_when: Option<String>,
    pub(super) hold: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) sni: Option<String>,
    pub(super) verify_name: Option<String>,
    pub(super) resolver: Option<RawResolver>,
    pub(super) static_configs: Option<Vec<RawStatic>>,
    pub(super) file_sd_configs: Option<Later>,
    pub(super) http_sd_configs: Option<Later>,
}

/// The `retry` block.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetry {
    pub(super) attempts: Option<i64>,
    pub(super) backoff: Option<String>,
    pub(super) max_backoff: Option<String>,
    pub(super) on: Option<Vec<String>>,
    pub(super) budget: Option<String>,
}

/// One entry of `static_configs`.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStatic {
    pub(super) targets: Option<Vec<String>>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// A secret: prints as its mask.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Masked(pub(super) Option<Secret>);

impl<'de> Deserialize<'de> for Masked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self((!text.is_empty()).then(|| Secret::new(text))))
    }
}

impl Serialize for Masked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(_) => serializer.serialize_str(Secret::MASK),
            None => serializer.serialize_none(),
        }
    }
}

/// A key that is known but not acted on: whether the file asks for more than nothing.
///
/// `false` and empty values ask for what happens anyway, so they pass. Prints as nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Later(pub(super) bool);

impl<'de> Deserialize<'de> for Later {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LaterVisitor)
    }
}

impl Serialize for Later {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

struct LaterVisitor;

impl<'de> Visitor<'de> for LaterVisitor {
    type Value = Later;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Later, E> {
        Ok(Later(!matches!(text.to_ascii_lowercase().as_str(), "" | "false" | "no" | "off")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Later, A::Error> {
        Ok(Later(items.next_element::<Self::Value>()?.is_some()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Later, A::Error> {
        Ok(Later(entries.next_key::<String>()?.is_some()))
    }
}
