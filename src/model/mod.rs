//! Plain data: what to probe, how, and what came of it.
//!
//! Everything else in the crate speaks in these types. They do no I/O, read no clock, know neither YAML nor metrics,
//! and import nothing of ours.

mod chain;
mod failure;
mod job;
mod module;
mod phase;
mod plan;
mod report;
mod revocation;
mod scan;
mod secret;
mod site;
mod tally;
mod target;
mod trust;
mod web;
mod websocket;

pub use chain::{CertificateChange, CertificateWatch, ChainNotes, issuers};
pub use failure::{Failure, Reason};
pub use job::{Job, RESERVED_LABELS, Retry, Series, SeriesKey};
pub use module::{
    Auth, Body, ClientIdentity, Compression, Header, HeaderMatcher, HttpModule, HttpVersion, IpFamily, IpPreference,
    IpProtocol, Module, ModuleName, Pattern, Pin, Prober, ProberKind, RootStore, SecretText, StartTls, TextSource,
    TlsModule, TlsOptions, TlsVersion, Trust,
};
pub use phase::{Phase, PhaseTimes};
pub use plan::Plan;
pub use report::{
    Certificate, CheckResult, HandshakeKind, Hop, Hsts, HttpFacts, Lookup, PathFacts, ProbeReport, SECURITY_HEADERS,
    TlsFacts, Verdict, WebSocketFacts,
};
pub use revocation::{CrlFacts, OcspFacts, OcspStatus, Online, RevocationFacts, RevocationPolicy};
pub use scan::{
    Answer, BigHello, CipherClass, CipherList, Confidence, Finding, ScanFacts, ScanItem, ScanProfile, TlsGroup,
    TlsScanModule,
};
pub use secret::Secret;
pub use site::{ConnectTo, Site, Sni};
pub use tally::{PHASE_BUCKETS, PhaseHistogram, Tally};
pub use target::{Host, Scheme, Target, TargetError, has_scheme, mask_credentials};
pub use trust::TrustFacts;
pub use web::{CipherSuite, ClientCertPolicy, Curve, RateLimit, WebConfig, WebTls};
pub use websocket::{Expectation, Outgoing, WebSocketModule, WebSocketStep};
