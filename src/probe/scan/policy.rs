//! What a server accepts, against what the module wants. Pure.
//!
//! Only a known answer breaks a policy: what is unknown has a metric of its own to alert on.

use crate::model::{Answer, CipherClass, ScanFacts, ScanItem, ScanProfile, TlsScanModule, TlsVersion};

/// Each broken rule, in words; empty when the server keeps to the policy.
pub(in crate::probe) fn broken(module: &TlsScanModule, facts: &ScanFacts) -> Vec<String> {
    let (must_not, must) = module.profile.map(rules).unwrap_or_default();
    let is = |item: &ScanItem, answer| facts.finding(*item).is_some_and(|finding| finding.answer == answer);
    let refuse = once_each(&module.fail_if_accepted, must_not).into_iter().filter(|item| is(item, Answer::Yes));
    let demand = once_each(&module.fail_if_not_accepted, must).into_iter().filter(|item| is(item, Answer::No));
    let mut broken: Vec<String> = refuse.map(|item| format!("{item} is accepted")).collect();
    broken.extend(demand.map(|item| format!("{item} is not accepted")));
    broken
}

/// What a profile forbids and demands: an upper bound on what is old, and TLS 1.3.
fn rules(profile: ScanProfile) -> (&'static [ScanItem], &'static [ScanItem]) {
    use CipherClass as Class;
    use ScanItem::{Class as C, Version as V};
    const MODERN: &[ScanItem] =
        &[V(TlsVersion::Ssl30), V(TlsVersion::Tls10), V(TlsVersion::Tls11), V(TlsVersion::Tls12)];
    const INTERMEDIATE: &[ScanItem] = &[
        V(TlsVersion::Ssl30),
        V(TlsVersion::Tls10),
        V(TlsVersion::Tls11),
        C(Class::ForwardSecretCbc),
        C(Class::StaticRsa),
        C(Class::TripleDes),
        C(Class::Rc4Des),
        C(Class::NullAnonymousExport),
    ];
    const OLD: &[ScanItem] = &[V(TlsVersion::Ssl30), C(Class::Rc4Des), C(Class::NullAnonymousExport)];
    let must_not = match profile {
        ScanProfile::Modern => MODERN,
        ScanProfile::Intermediate => INTERMEDIATE,
        ScanProfile::Old => OLD,
    };
    (must_not, &[V(TlsVersion::Tls13)])
}

fn once_each(own: &[ScanItem], of_profile: &[ScanItem]) -> Vec<ScanItem> {
    let more = of_profile.iter().filter(|item| !own.contains(item));
    own.iter().chain(more).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Confidence, Finding, TlsGroup};

    fn finding(answer: Answer) -> Finding {
        Finding { answer, confidence: Confidence::High, why: String::new() }
    }

    /// A server that accepts TLS 1.0 and up, CBC, and no other weak class; X25519 is unknown.
    fn lenient() -> ScanFacts {
        use TlsVersion as V;
        let accepted = [V::Tls13, V::Tls12, V::Tls11, V::Tls10];
        let answer = |yes| finding(if yes { Answer::Yes } else { Answer::No });
        let versions = accepted.into_iter().chain([V::Ssl30]);
        let classes = [CipherClass::ForwardSecretAead, CipherClass::ForwardSecretCbc, CipherClass::Rc4Des];
        ScanFacts {
            versions: versions.map(|version| (version, answer(accepted.contains(&version)))).collect(),
            classes: classes.map(|class| (class, answer(class != CipherClass::Rc4Des))).into(),
            groups: vec![(TlsGroup::X25519, finding(Answer::Unknown))],
            ..ScanFacts::default()
        }
    }

    fn profile(profile: ScanProfile) -> TlsScanModule {
        TlsScanModule { profile: Some(profile), ..TlsScanModule::default() }
    }

    #[test]
    fn profiles_are_upper_bounds_and_want_tls_13() {
        let mut facts = lenient();
        assert_eq!(broken(&profile(ScanProfile::Old), &facts), Vec::<String>::new());
        assert_eq!(
            broken(&profile(ScanProfile::Intermediate), &facts),
            ["TLS 1.0 is accepted", "TLS 1.1 is accepted", "forward_secret_cbc is accepted"]
        );
        assert_eq!(
            broken(&profile(ScanProfile::Modern), &facts),
            ["TLS 1.0 is accepted", "TLS 1.1 is accepted", "TLS 1.2 is accepted"]
        );
        facts.versions[0].1 = finding(Answer::No);
        assert_eq!(broken(&profile(ScanProfile::Old), &facts), ["TLS 1.3 is not accepted"]);
    }

    #[test]
    fn lists_add_to_a_profile_and_name_each_item_once() {
        let mut module = profile(ScanProfile::Modern);
        module.fail_if_accepted = vec![ScanItem::Version(TlsVersion::Tls10)];
        module.fail_if_not_accepted = vec![ScanItem::Class(CipherClass::Rc4Des)];
        let words = broken(&module, &lenient());
        assert_eq!(words.iter().filter(|word| *word == "TLS 1.0 is accepted").count(), 1);
        assert_eq!(words.last().unwrap(), "rc4_des is not accepted");
    }

    #[test]
    fn what_is_unknown_or_was_not_asked_breaks_nothing() {
        let item = vec![ScanItem::Group(TlsGroup::X25519), ScanItem::Group(TlsGroup::X25519MLKEM768)];
        let module =
            TlsScanModule { fail_if_accepted: item.clone(), fail_if_not_accepted: item, ..TlsScanModule::default() };
        assert_eq!(broken(&module, &lenient()), Vec::<String>::new());
    }
}
