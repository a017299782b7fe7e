//! Which addresses are dialled, in which order; and names that nobody has to be asked for.

use super::*;
use crate::probe::run::now;

fn wanted(preferred: IpFamily, fallback: bool, protocol: IpProtocol) -> Wanted {
    Wanted { preference: IpPreference { preferred, fallback }, protocol }
}

fn at(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 0)
}

/// Every mode on every kind of host (`blackbox_exporter` #424, #540).
#[test]
fn chooses_like_blackbox_in_every_mode_on_every_kind_of_host() {
    use IpFamily::{V4, V6};
    let [a4, b4, a6, b6] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"].map(at);
    let both = [a4, a6, b4, b6];
    let cases: [(&[SocketAddr], IpFamily, bool, Option<SocketAddr>); 9] = [
        (&both, V4, true, Some(a4)),
        (&both, V6, true, Some(a6)),
        (&both, V4, false, Some(a4)),
        (&both, V6, false, Some(a6)),
        (&[a4, b4], V6, true, Some(b4)),
        (&[a4, b4], V6, false, None),
        (&[a6, b6], V4, true, Some(b6)),
        (&[a6, b6], V4, false, None),
        (&[], V4, true, None),
    ];
    for (found, preferred, fallback, expected) in cases {
        let chosen = candidates(found, wanted(preferred, fallback, IpProtocol::Prefer));
        assert_eq!(chosen, Vec::from_iter(expected), "{found:?} {preferred:?} {fallback}");
    }
}

#[test]
fn a_race_takes_the_families_in_turn() {
    use IpFamily::{V4, V6};
    let [a4, b4, a6, b6] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"].map(at);
    let all = [a4, b4, a4, a6, b6];
    for (preferred, fallback, expected) in [
        (V6, true, vec![a6, a4, b6, b4]),
        (V4, true, vec![a4, a6, b4, b6]),
        (V6, false, vec![a6, b6]),
        (V4, false, vec![a4, b4]),
    ] {
        assert_eq!(candidates(&all, wanted(preferred, fallback, IpProtocol::Race)), expected);
    }
    let many: Vec<SocketAddr> = (0..100).map(|n| at(&format!("192.0.2.{n}"))).collect();
    assert_eq!(candidates(&many, wanted(V4, true, IpProtocol::Race)).len(), MAX_CANDIDATES);
}

#[tokio::test]
async fn literals_and_special_use_names_need_no_resolver() {
    let v4 = IpPreference { preferred: IpFamily::V4, fallback: true };
    let only_v6 = IpPreference { preferred: IpFamily::V6, fallback: false };
    let ask = async |host: Host, preference| by_system(&host, preference, now()).await.map(|address| address.ip());
    let name = |text: &str| Host::Name(text.into());
    assert_eq!(ask(name("shop.localhost"), v4).await.unwrap(), IpAddr::from(Ipv4Addr::LOCALHOST));
    assert_eq!(ask(name("shop.localhost"), only_v6).await.unwrap(), IpAddr::from(Ipv6Addr::LOCALHOST));
    assert_eq!(ask(name("shop.invalid"), v4).await.unwrap_err().reason(), Reason::NameNotFound);
    let literal = ask(Host::Ip("192.0.2.7".parse().unwrap()), only_v6).await;
    assert_eq!(literal.unwrap_err().reason(), Reason::NoAddress);
}
