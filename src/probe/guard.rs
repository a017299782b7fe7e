//! Where no probe connects: looked at with the very address that is dialled, whatever name, redirect or spelling led to it.
//!
//! In: an address. Out: whether it may be dialled. Pure.

use super::run::StageError;
use crate::model::{Access, Reason};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks of one load.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    denied: Vec<IpNet>,
    allowed: Vec<IpNet>,
}

/// An address that must not be dialled.
#[derive(Debug, thiserror::Error)]
#[error(
    "{address} is in {network}, which is denied; if it is meant to be probed, write `access: {{allowed_networks: [{network}]}}`"
)]
pub(super) struct Denied {
    address: IpAddr,
    network: IpNet,
}

impl StageError for Denied {
    fn reason(&self) -> Reason {
        Reason::AddressDenied
    }
}

impl Guard {
    /// The guard that `access` asks for.
    pub(crate) fn new(access: &Access) -> Self {
        Self { denied: access.denied_networks.clone(), allowed: access.allowed_networks.clone() }
    }

    /// Whether `address` may be dialled: it and whatever address it stands for.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Denied> {
        let meanings = meanings(address);
        let covers = |networks: &[IpNet], ip| networks.iter().find(|network| network.contains(&ip)).copied();
        let denied =
            meanings.iter().find_map(|&ip| covers(&self.denied, ip).filter(|_| covers(&self.allowed, ip).is_none()));
        denied.map_or(Ok(()), |network| Err(Denied { address, network }))
    }
}

/// The address, and those that a packet to it may reach: what is mapped, translated or tunnelled inside of it, and this
/// machine for the address of none.
fn meanings(address: IpAddr) -> Vec<IpAddr> {
    let mut all = vec![address];
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => all.push(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V4(_) => {}
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            all.extend([IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()]);
        }
        IpAddr::V6(ip) => all.extend(inside(ip).into_iter().flat_map(|ip| meanings(ip.into()))),
    }
    all
}

/// The IPv4 address that an IPv6 address carries, by the form that it has.
fn inside(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0..=1] => return None,
        // Mapped and compatible (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), ISATAP (RFC 5214), 6to4
        // (RFC 3056).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0 | 1, .., high, low]
        | [.., 0 | 0x200, 0x5efe, high, low]
        | [0x2002, high, low, ..] => (high, low),
        // Teredo (RFC 4380).
        [0x2001, 0, .., high, low] => (!high, !low),
        _ => return None,
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(denied: &[&str], allowed: &[&str]) -> Guard {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Guard { denied: read(denied), allowed: read(allowed) }
    }

    #[test]
    fn an_address_is_denied_in_every_form_it_has() {
        let guard = guard(&["127.0.0.0/8", "::1/128", "10.0.0.0/8"], &["10.9.0.0/16"]);
        for ip in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::127.0.0.1",
            "64:ff9b:1:2:3:4:7f00:1",
            "2002:7f00:1::",
            "2002:7f00:1:1::5",
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
            "fe80::5efe:7f00:1",
            "fe80::200:5efe:7f00:1",
            "10.1.2.3",
            "::ffff:0a01:0203",
            "::ffff:0.0.0.0",
        ] {
            let denied = guard.check(ip.parse().unwrap()).expect_err(ip);
            assert_eq!(denied.reason(), Reason::AddressDenied);
            assert!(denied.to_string().contains("allowed_networks"), "{denied}");
        }
        for ip in [
            "128.0.0.1",
            "10.9.1.1",
            "::ffff:10.9.1.1",
            "2001:db8::7f00:1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::",
            "::2:7f00:1",
        ] {
            assert!(guard.check(ip.parse().unwrap()).is_ok(), "{ip}");
        }
    }

    #[test]
    fn metadata_services_are_denied_by_default_and_private_networks_are_not() {
        let guard = Guard::new(&Access::default());
        for ip in
            ["169.254.169.254", "::ffff:a9fe:a9fe", "fe80::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"]
        {
            assert!(guard.check(ip.parse().unwrap()).is_err(), "{ip}");
        }
        for ip in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1", "8.8.8.8", "2606:4700::1111"] {
            assert!(guard.check(ip.parse().unwrap()).is_ok(), "{ip}");
        }
        assert!(Guard::default().check("169.254.169.254".parse().unwrap()).is_ok());
    }
}
