//! What a TLS server accepts, measured with hellos of our own: the plan, question by question, over real connections.
//!
//! In: a line to one address, a name, what the module wants to know. Out: facts. No key is made and nothing is decrypted;
//! each connection ends after the server's first answer. Knows neither resolving nor reports.

mod hello;
mod judge;
mod line;
mod policy;
mod reply;
mod shapes;
mod suites;
#[cfg(test)]
mod tests;
mod turns;

pub(super) use line::Line;
pub(super) use policy::broken;
pub(super) use turns::turn;

use super::{run::StageError, tls};
use crate::model::{
    Answer, BigHello, Certificate, CipherClass, CipherList, Confidence, Finding, Reason, ScanFacts, TlsGroup,
    TlsScanModule, TlsVersion,
};
use hello::Hello;
use judge::Opinion;
use reply::{Reply, ServerHello, Until};
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use shapes::{Shape, Shapes};
use strum::VariantArray;

/// Reads what may be a reply, in every way that replies are read.
#[cfg(any(test, fuzzing))]
pub(super) fn read_reply(bytes: &[u8]) {
    for until in [Until::Hello, Until::Flight] {
        drop(reply::read(bytes, until));
    }
}

/// In the order they are asked for.
const VERSIONS: [TlsVersion; 5] =
    [TlsVersion::Tls13, TlsVersion::Tls12, TlsVersion::Tls11, TlsVersion::Tls10, TlsVersion::Ssl30];

/// Why a scan could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error("no hello was answered with a ServerHello: {0}")]
    NoAnswer(String, Reason),
}

impl StageError for ScanError {
    fn reason(&self) -> Reason {
        let Self::NoAnswer(_, reason) = self;
        *reason
    }
}

/// The name to send as SNI: none for an address.
pub(super) fn sni(name: &str) -> Result<Option<String>, InvalidDnsNameError> {
    let is_name = matches!(ServerName::try_from(name)?, ServerName::DnsName(_));
    Ok(is_name.then(|| name.trim_end_matches('.').to_owned()))
}

/// A scan under way.
pub(super) struct Scan<'a> {
    module: &'a TlsScanModule,
    shapes: Shapes,
    line: Line,
    facts: ScanFacts,
    chain: Vec<Certificate>,
    stapled: bool,
    /// The hello that was answered first, to be sent again at the end.
    control: Option<Vec<u8>>,
    /// Whether the browser's hello was answered, not only an old client's.
    speaks_browser: bool,
    /// Versions that some answer was in, with whether it warned of a newer one.
    answered_in: Vec<(TlsVersion, bool)>,
    /// Whether the control hello was answered at the end too.
    settled: bool,
}

impl<'a> Scan<'a> {
    /// Prepares a scan over `line` with this SNI.
    pub(super) fn new(module: &'a TlsScanModule, server_name: Option<String>, line: Line) -> Self {
        Self {
            module,
            shapes: Shapes { server_name, include_weak: module.include_weak },
            line,
            facts: ScanFacts::default(),
            chain: Vec::new(),
            stapled: false,
            control: None,
            speaks_browser: false,
            answered_in: Vec::new(),
            settled: false,
        }
    }

    /// Asks everything, one connection after the other.
    pub(super) async fn run(&mut self) -> Result<(), ScanError> {
        let refusal = self.control().await?;
        for version in VERSIONS {
            self.version(version).await;
        }
        if let (None, Some(refusal)) = (&self.control, refusal) {
            return Err(no_answer(&refusal));
        }
        self.count_what_was_answered_in();
        for class in suites::classes(self.module.include_weak) {
            let finding = self.class(class).await;
            self.facts.classes.push((class, finding));
        }
        for &group in TlsGroup::VARIANTS {
            let finding = self.group(group).await;
            self.facts.groups.push((group, finding));
        }
        if self.speaks_browser {
            self.facts.big_hello = Some(self.big_hello().await);
        }
        if self.module.list_ciphers {
            self.list_ciphers().await;
        }
        self.settle().await;
        Ok(())
    }

    /// What was found so far; to be asked for whatever became of the scan.
    pub(super) fn facts(mut self) -> (ScanFacts, Vec<Certificate>, bool) {
        if !self.settled {
            self.take_back();
        }
        self.facts.connections = self.line.connections();
        self.facts.took = self.line.elapsed();
        (self.facts, self.chain, self.stapled)
    }

    /// Makes sure that there is a TLS server. One that answers with alerts may still speak old versions: then its refusal
    /// is handed back.
    async fn control(&mut self) -> Result<Option<Reply>, ScanError> {
        let first = self.shapes.control(Shape::First).write();
        let refusal = match self.line.ask(&first, Until::Hello).await {
            Reply::Hello(_) => {
                self.speaks_browser = true;
                self.control = Some(first);
                return Ok(None);
            }
            refusal @ Reply::NotTls => return Err(no_answer(&refusal)),
            refusal => refusal,
        };
        let second = self.shapes.control(Shape::Second).write();
        match (self.line.ask(&second, Until::Hello).await, &refusal) {
            (Reply::Hello(_), _) => self.control = Some(second),
            (_, Reply::Alert(judge::UNRECOGNIZED_NAME)) => return Err(no_answer(&refusal)),
            (Reply::Alert(_), _) | (_, Reply::Alert(_)) => {}
            _ => return Err(no_answer(&refusal)),
        }
        Ok(Some(refusal))
    }

    async fn version(&mut self, version: TlsVersion) {
        let hellos = [Shape::First, Shape::Second].map(|shape| self.shapes.version(version, shape));
        let judge = |hello: &Hello<'_>, reply: &Reply| judge::version(version, &hello.suites, reply);
        let (mut finding, answers) = question(&mut self.line, hellos, judge).await;
        if version == TlsVersion::Ssl30 && self.shapes.server_name.is_some() {
            finding.why.push_str("; asked without a name, which SSL 3.0 cannot carry");
        }
        for (hello, answer) in answers {
            if answer.known_version() == Some(version) {
                self.control.get_or_insert(hello);
            }
            self.note(&answer);
        }
        self.facts.versions.push((version, finding));
    }

    /// Keeps what an answer up to TLS 1.2 shows in the clear.
    fn note(&mut self, answer: &ServerHello) {
        let Some(version) = answer.known_version() else { return };
        self.answered_in.push((version, answer.sentinel));
        if self.chain.is_empty() && !answer.chain.is_empty() {
            self.chain = answer.chain.iter().filter_map(|der| tls::certificate(der)).collect();
            self.stapled = answer.stapled;
            self.facts.chain_version = Some(version).filter(|_| !self.chain.is_empty());
        }
        if let Some(requested) = answer.client_cert_requested {
            *self.facts.client_cert_requested.get_or_insert(false) |= requested;
        }
    }

    /// An answer in a version is a yes for it, whatever was asked.
    fn count_what_was_answered_in(&mut self) {
        for (version, finding) in &mut self.facts.versions {
            if finding.answer != Answer::Yes && self.answered_in.iter().any(|(other, _)| other == version) {
                let why = "it answered a newer hello in it".into();
                *finding = Finding { answer: Answer::Yes, confidence: Confidence::High, why };
            }
        }
        let older = self.answered_in.iter().filter(|(version, _)| *version < TlsVersion::Tls13);
        let warnings: Vec<bool> = older.map(|(_, sentinel)| *sentinel).collect();
        let known = self.accepts(TlsVersion::Tls13) && !warnings.is_empty();
        self.facts.downgrade_protected = known.then(|| warnings.iter().all(|warned| *warned));
    }

    fn accepts(&self, version: TlsVersion) -> bool {
        self.versions_with(Answer::Yes).any(|accepted| accepted == version)
    }

    fn versions_with(&self, answer: Answer) -> impl Iterator<Item = TlsVersion> + '_ {
        self.facts.versions.iter().filter(move |(_, finding)| finding.answer == answer).map(|(version, _)| *version)
    }

    /// The newest and the oldest accepted version up to TLS 1.2.
    fn old_versions(&self) -> Option<(TlsVersion, TlsVersion)> {
        let old = || self.versions_with(Answer::Yes).filter(|version| *version <= TlsVersion::Tls12);
        Some((old().max()?, old().min()?))
    }

    /// The finding about what exists in `versions` only, none of which is accepted: as sure as that.
    fn as_versions(&self, versions: &[TlsVersion], why: &str) -> Finding {
        let of = self.facts.versions.iter().filter(|(version, _)| versions.contains(version));
        let findings: Vec<&Finding> = of.map(|(_, finding)| finding).collect();
        let confidence = findings.iter().map(|finding| finding.confidence).min().unwrap_or(Confidence::Low);
        if findings.iter().all(|finding| finding.answer == Answer::No) {
            return Finding { answer: Answer::No, confidence, why: format!("{why}, which is not accepted") };
        }
        Finding::unknown(format!("{why}, of which it is unknown whether it is accepted"))
    }

    /// Asks in the newest of the old versions, and then, where in doubt, in the oldest.
    async fn class(&mut self, class: CipherClass) -> Finding {
        let Some((newest, oldest)) = self.old_versions() else {
            return self.as_versions(&VERSIONS[1..], "it belongs to TLS 1.2 and older");
        };
        let first = suites::of_class(class, newest);
        if first.is_empty() {
            return self.as_versions(&[TlsVersion::Tls12], "it belongs to TLS 1.2");
        }
        let mut second = (oldest, suites::of_class(class, oldest));
        if second.1.is_empty() {
            second = (newest, first.clone());
        }
        second.1.reverse();
        let hellos =
            [self.shapes.suites(newest, first, Shape::First), self.shapes.suites(second.0, second.1, Shape::Second)];
        let judge = |hello: &Hello<'_>, reply: &Reply| judge::class(&hello.suites, reply);
        question(&mut self.line, hellos, judge).await.0
    }

    /// Asks in TLS 1.3 if it is accepted, else in the newest old version.
    async fn group(&mut self, group: TlsGroup) -> Finding {
        let (code, shapes) = (shapes::code(group), [Shape::First, Shape::Second]);
        if self.accepts(TlsVersion::Tls13) {
            let hellos = shapes.map(|shape| self.shapes.group(group, shape));
            return question(&mut self.line, hellos, |_, reply| judge::group(code, reply)).await.0;
        }
        if group.is_hybrid() {
            return self.as_versions(&[TlsVersion::Tls13], "it belongs to TLS 1.3");
        }
        match self.old_versions() {
            Some((newest, _)) if newest >= TlsVersion::Tls10 => {
                let own = self.chain.first().and_then(curve_of);
                let hellos = shapes.map(|shape| self.shapes.curve(newest, (group, own), shape));
                question(&mut self.line, hellos, |_, reply| judge::curve(code, reply)).await.0
            }
            _ => self.as_versions(&VERSIONS[..4], "it belongs to TLS 1.0 and newer"),
        }
    }

    /// Compares a hello that is large by its key share with the same split, and with one that is large by padding.
    async fn big_hello(&mut self) -> BigHello {
        let big = self.shapes.big().write();
        match self.arrives(&big, None).await {
            Arrival::Answered => {
                let name = self.shapes.server_name.as_deref().unwrap_or_default().as_bytes();
                let inside = big.windows(name.len().max(1)).position(|window| window == name);
                let at = inside.map_or(64, |start| start + name.len() / 2);
                match self.arrives(&big, Some(at)).await {
                    Arrival::Answered => BigHello::Ok,
                    Arrival::Lost => BigHello::SplitIntolerant,
                    Arrival::Refused => BigHello::Unknown,
                }
            }
            failed => {
                let padded = self.shapes.padded(big.len() - RECORD_HEADER).write();
                match (failed, self.arrives(&padded, None).await) {
                    (_, Arrival::Answered) => BigHello::GroupIntolerant,
                    (Arrival::Lost, Arrival::Lost) => BigHello::SizeIntolerant,
                    _ => BigHello::Unknown,
                }
            }
        }
    }

    /// What becomes of a hello, asked a second time unless it was answered.
    async fn arrives(&mut self, hello: &[u8], split: Option<usize>) -> Arrival {
        let mut last = Arrival::Refused;
        for _ in 0..2 {
            let reply = match split {
                Some(at) => self.line.ask_split(hello, at).await,
                None => self.line.ask(hello, Until::Hello).await,
            };
            last = match reply {
                Reply::Hello(_) => return Arrival::Answered,
                Reply::Ended { .. } => Arrival::Lost,
                _ => Arrival::Refused,
            };
        }
        last
    }

    /// Offers every suite of each accepted version, leaves out the chosen one, and so on until the server refuses.
    async fn list_ciphers(&mut self) {
        let mut list = CipherList { accepted: Vec::new(), complete: true };
        for version in self.versions_with(Answer::Yes).collect::<Vec<_>>() {
            let all = suites::of_version(version, self.module.include_weak);
            for part in all.chunks(suites::MAX_OFFERED) {
                list.complete &= self.peel(version, part.to_vec(), &mut list.accepted).await;
            }
        }
        self.facts.ciphers = Some(list);
    }

    /// Whether the list was asked through to a refusal.
    async fn peel(
        &mut self,
        version: TlsVersion,
        mut left: Vec<u16>,
        accepted: &mut Vec<(TlsVersion, &'static str)>,
    ) -> bool {
        while !left.is_empty() {
            let hello = match version {
                TlsVersion::Tls13 => self.shapes.suites13(left.clone()),
                _ => self.shapes.suites(version, left.clone(), Shape::Second),
            };
            let chosen = match self.line.ask(&hello.write(), Until::Hello).await {
                Reply::Hello(answer) if answer.known_version() == Some(version) => answer.suite,
                Reply::Hello(_) | Reply::Alert(_) => return true,
                _ => return false,
            };
            let Some(at) = left.iter().position(|suite| *suite == chosen) else { return false };
            left.remove(at);
            accepted.extend(suites::name(chosen).map(|name| (version, name)));
        }
        true
    }

    /// Sends the control hello again: who does not answer it now may have refused other hellos for the same reason.
    async fn settle(&mut self) {
        let Some(control) = self.control.take() else { return };
        for _ in 0..2 {
            if let Reply::Hello(_) = self.line.ask_last(&control).await {
                self.settled = true;
                return;
            }
        }
    }

    fn take_back(&mut self) {
        let ScanFacts { versions, classes, groups, big_hello, ciphers, .. } = &mut self.facts;
        let (versions, classes, groups) = (versions.iter_mut(), classes.iter_mut(), groups.iter_mut());
        let findings = versions.map(|(_, finding)| finding).chain(classes.map(|(_, finding)| finding));
        for finding in findings.chain(groups.map(|(_, finding)| finding)) {
            judge::take_back(finding);
        }
        if let Some(big @ (BigHello::SizeIntolerant | BigHello::SplitIntolerant | BigHello::GroupIntolerant)) =
            big_hello
        {
            *big = BigHello::Unknown;
        }
        if let Some(list) = ciphers {
            list.complete = false;
        }
    }
}

/// What became of a large hello.
enum Arrival {
    Answered,
    /// Read, and answered with an alert or with nonsense.
    Refused,
    /// Not answered at all.
    Lost,
}

/// Type, version and length.
const RECORD_HEADER: usize = 5;

/// Asks once, and where that leaves doubt, again in another shape. Gives the finding, and every `ServerHello` with the hello
/// that it answers.
async fn question(
    line: &mut Line,
    [first, second]: [Hello<'_>; 2],
    judge: impl Fn(&Hello<'_>, &Reply) -> Opinion,
) -> (Finding, Vec<(Vec<u8>, ServerHello)>) {
    let mut answers = Vec::new();
    let mut opinions = Vec::new();
    for hello in [&first, &second] {
        let bytes = hello.write();
        let reply = line.ask(&bytes, Until::Flight).await;
        let opinion = judge(hello, &reply);
        if let Reply::Hello(answer) = reply {
            answers.push((bytes, *answer));
        }
        let enough = !opinion.wants_second() || !line.has_patience();
        opinions.push(opinion);
        if enough {
            break;
        }
    }
    let mut opinions = opinions.into_iter();
    let first = opinions.next().expect("the first hello was asked");
    (judge::conclude(first, opinions.next()), answers)
}

fn no_answer(reply: &Reply) -> ScanError {
    ScanError::NoAnswer(judge::words(reply), judge::reason(reply))
}

/// The curve of a certificate's key, which a client must offer for the certificate to be used (RFC 8422 section 5.1).
fn curve_of(leaf: &Certificate) -> Option<TlsGroup> {
    match leaf.key.as_str() {
        "ECDSA P-256" => Some(TlsGroup::Secp256r1),
        "ECDSA P-384" => Some(TlsGroup::Secp384r1),
        "ECDSA P-521" => Some(TlsGroup::Secp521r1),
        _ => None,
    }
}
