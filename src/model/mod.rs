//! Plain data: what to probe, how, and what came of it.
//!
//! Everything else in the crate speaks in these types. They do no I/O, read no clock, know neither YAML nor metrics,
//! and import nothing of ours.

mod access;
mod chain;
mod failure;
mod fan;
mod hold;
mod job;
mod module;
mod names;
mod no_proxy;
mod oauth2;
mod phase;
mod plan;
mod proxy;
mod report;
mod resolver;
mod revocation;
mod scan;
mod secret;
mod site;
mod tally;
mod target;
mod trust;
mod web;
mod websocket;

pub use access::{Access, Limit, NamePattern, TargetRule, Trusted};
pub use chain::{CertificateChange, CertificateWatch, ChainNotes, issuers};
pub use failure::{Failure, Reason};
pub use fan::{FanFacts, FanOut, FanReport, MAX_EDGES, Outcome, Over, SuccessWhen};
pub use hold::{HoldEvent, HoldTally};
pub use job::{Job, RESERVED_LABELS, Retry, Series, SeriesKey};
pub use module::{
    Auth, Body, ClientIdentity, Compression, Header, HeaderMatcher, HttpModule, HttpVersion, IpFamily, IpPreference,
    IpProtocol, Module, ModuleName, Pattern, Pin, Prober, ProberKind, RootStore, SecretText, StartTls, TextSource,
    TlsModule, TlsOptions, TlsVersion, Trust,
};
pub use names::{NAME_REFUSALS, NameClash};
pub use no_proxy::{NoProxy, is_loopback};
pub use oauth2::{OAuth2, TokenFacts};
pub use phase::{Phase, PhaseTimes};
pub use plan::Plan;
pub use proxy::{ProxyFacts, ProxyKind, ProxyOptions, ProxySource, ProxyUrl, authority};
pub use report::{
    Certificate, CheckResult, Dial, DialOutcome, HandshakeKind, Hop, Hsts, HttpFacts, Lookup, PathFacts, ProbeReport,
    SECURITY_HEADERS, TlsFacts, Verdict, WebSocketFacts,
};
pub use resolver::{DnsAnswer, DnsFacts, DnsTransport, NameServer, ResolverSettings};
pub use revocation::{CrlFacts, OcspFacts, OcspStatus, Online, RevocationFacts, RevocationPolicy};
pub use scan::{
    Answer, BigHello, CipherClass, CipherList, Confidence, Finding, ScanFacts, ScanItem, ScanProfile, TlsGroup,
    TlsScanModule,
};
pub use secret::Secret;
pub use site::{ConnectTo, Site, Sni, host_of, same_host};
pub use tally::{PHASE_BUCKETS, PhaseHistogram, Tally};
pub use target::{Host, Scheme, Target, TargetError, has_scheme, mask_credentials};
pub use trust::TrustFacts;
pub use web::{CipherSuite, ClientCertPolicy, Curve, RateLimit, WebConfig, WebTls};
pub use websocket::{Expectation, Outgoing, WebSocketModule, WebSocketStep};
