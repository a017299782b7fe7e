//! Which addresses a URL from a stranger's certificate may lead to: only such as the public Internet routes. Pure.
//!
//! Without this, whoever presents a certificate could make the exporter ask the services of its own network, a cloud's
//! metadata service first of all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the address is one of the public Internet.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // shared with a carrier (RFC 6598)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))) // benchmarks (RFC 2544)
}

/// Global unicast is `2000::/3`; inside it, the ranges that stand for other addresses or for none are left out.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = parts {
        return is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))); // NAT64 (RFC 6052)
    }
    let special = match parts {
        [0x2001, second, ..] => second < 0x200 || second == 0xdb8, // Teredo and other protocols; documentation
        [0x2002 | 0x3fff, ..] => true,                             // 6to4 (RFC 3056); documentation (RFC 9637)
        _ => false,
    };
    parts[0] & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        for ip in ["8.8.8.8", "1.1.1.1", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
