//! The exporter's own health: what it was told, how much it does, and what its process uses.

use super::{
    Metric,
    Read::{self, Own as FromOwn},
    Samples,
};
use crate::model::{ModuleName, TrustFacts};
use std::time::{Duration, SystemTime};

/// The exporter's own facts at the time of a scrape.
#[derive(Clone, Debug)]
pub struct Own {
    /// Whether the last attempt to load the config succeeded.
    pub reload_ok: bool,
    /// When the config in use was loaded.
    pub reload_at: Option<SystemTime>,
    /// Probes running now.
    pub in_flight: usize,
    /// Finished and failed probes by module.
    pub modules: Vec<(ModuleName, u64, u64)>,
    /// Requests for modules that do not exist.
    pub unknown_modules: u64,
    /// Requests for a probe that were refused, by why.
    pub refused: [(&'static str, u64); 3],
    /// Connections that jobs hold open.
    pub held: usize,
    /// Scheduled series.
    pub series: usize,
    /// The trust stores in use.
    pub trust: Vec<TrustFacts>,
}

/// What the system says about the exporter's process. Each fact is missing where the system does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    cpu: Option<Duration>,
    open_fds: Option<usize>,
    max_fds: Option<u64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    /// Since 1970.
    started: Option<Duration>,
}

pub(super) const METRICS: &[Metric] = &[
    Metric::gauge(
        "edgeprobe_build_info",
        "The version of the exporter and the platform it was built for",
        FromOwn(|_, out| out.info(&[env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH])),
    )
    .labels(&["version", "os", "arch"]),
    Metric::gauge(
        "edgeprobe_config_last_reload_successful",
        "Whether the last attempt to load the config succeeded",
        FromOwn(|own, out| out.put(own.reload_ok)),
    ),
    Metric::gauge(
        "edgeprobe_config_last_reload_success_timestamp_seconds",
        "When the config in use was loaded",
        FromOwn(|own, out| out.put_known(own.reload_at)),
    )
    .absent(NEVER_LOADED),
    Metric::gauge(
        "blackbox_exporter_config_last_reload_successful",
        "Blackbox exporter config loaded successfully.",
        FromOwn(|own, out| out.put(own.reload_ok)),
    ),
    Metric::gauge(
        "blackbox_exporter_config_last_reload_success_timestamp_seconds",
        "Timestamp of the last successful configuration reload.",
        FromOwn(|own, out| out.put_known(own.reload_at)),
    )
    .absent(NEVER_LOADED),
    Metric::counter(
        "blackbox_module_unknown_total",
        "Count of unknown modules requested by probes",
        FromOwn(|own, out| out.put(own.unknown_modules)),
    ),
    Metric::gauge(
        "edgeprobe_websockets_held",
        "WebSockets that jobs hold open now",
        FromOwn(|own, out| out.put(own.held)),
    ),
    Metric::counter(
        "edgeprobe_probe_requests_refused_total",
        "Requests for a probe that access refused, by why",
        FromOwn(|own, out| own.refused.iter().for_each(|(why, count)| out.put_with(&[why], *count))),
    )
    .labels(&["reason"])
    .note("`reason` is `not_allowed`, `client_limit` or `destination_limit`"),
    Metric::gauge(
        "edgeprobe_probes_in_flight",
        "Probes that are running now",
        FromOwn(|own, out| out.put(own.in_flight)),
    ),
    Metric::counter(
        "edgeprobe_probes_total",
        "Finished probes by module, on demand and scheduled",
        FromOwn(|own, out| own.modules.iter().for_each(|(name, probes, _)| out.put_with(&[name.as_str()], *probes))),
    )
    .labels(&["module"]),
    Metric::counter(
        "edgeprobe_probe_failures_total",
        "Failed probes by module, on demand and scheduled",
        FromOwn(|own, out| own.modules.iter().for_each(|(name, _, failed)| out.put_with(&[name.as_str()], *failed))),
    )
    .labels(&["module"]),
    Metric::gauge("edgeprobe_scheduled_series", "Scheduled series", FromOwn(|own, out| out.put(own.series))),
    Metric::gauge(
        "edgeprobe_trust_store_certificates",
        "Roots in each trust store that a module uses",
        FromOwn(|own, out| own.trust.iter().for_each(|trust| out.put_with(&[&trust.store], trust.certificates))),
    )
    .note("`store` is `system`, `embedded`, the path of a file or folder, or `module` and the name of the first module that has the roots in the config")
    .labels(&["store"]),
    Metric::gauge(
        "edgeprobe_trust_store_earliest_expiry_timestamp_seconds",
        "When the first root of each trust store expires",
        FromOwn(earliest_expiry),
    )
    .labels(&["store"])
    .absent("the store is `embedded`: its roots come without dates"),
    Metric::counter(
        "process_cpu_seconds_total",
        "Processor time used by the process, in user and system mode",
        Read::Process(|process, out| out.put_known(process.cpu)),
    )
    .absent(NOT_TOLD),
    Metric::gauge(
        "process_open_fds",
        "File descriptors that the process holds",
        Read::Process(|process, out| out.put_known(process.open_fds)),
    )
    .absent(NOT_TOLD),
    Metric::gauge(
        "process_max_fds",
        "File descriptors that the process may hold",
        Read::Process(|process, out| out.put_known(process.max_fds)),
    )
    .absent("the system is not Linux, or there is no limit"),
    Metric::gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process",
        Read::Process(|process, out| out.put_known(process.resident_bytes)),
    )
    .absent(NOT_TOLD),
    Metric::gauge(
        "process_virtual_memory_bytes",
        "Virtual memory of the process",
        Read::Process(|process, out| out.put_known(process.virtual_bytes)),
    )
    .absent(NOT_TOLD),
    Metric::gauge(
        "process_start_time_seconds",
        "When the process started",
        Read::Process(|process, out| out.put_known(process.started)),
    )
    .absent(NOT_TOLD),
];

const NEVER_LOADED: &str = "no config has been loaded";
const NOT_TOLD: &str = "the system is not Linux, or does not tell";

fn earliest_expiry(own: &Own, out: &mut Samples) {
    for trust in &own.trust {
        if let Some((first, _)) = trust.ends {
            out.put_with(&[&trust.store], first);
        }
    }
}

impl Process {
    /// Asks the system.
    #[cfg(target_os = "linux")]
    pub(super) fn read() -> Self {
        let Ok(me) = procfs::process::Process::myself() else { return Self::default() };
        let stat = me.stat().ok();
        let boot = procfs::boot_time_secs().ok().map(Duration::from_secs);
        Self {
            cpu: stat.as_ref().map(|stat| from_ticks(stat.utime + stat.stime)),
            open_fds: me.fd_count().ok(),
            max_fds: me.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
                procfs::process::LimitValue::Value(limit) => Some(limit),
                procfs::process::LimitValue::Unlimited => None,
            }),
            resident_bytes: stat.as_ref().map(|stat| stat.rss * procfs::page_size()),
            virtual_bytes: stat.as_ref().map(|stat| stat.vsize),
            started: boot.zip(stat).map(|(boot, stat)| boot + from_ticks(stat.starttime)),
        }
    }

    /// Other systems are not asked.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn read() -> Self {
        Self::default()
    }
}

#[cfg(target_os = "linux")]
fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000) / procfs::ticks_per_second())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_about_this_process() {
        let process = Process::read();
        assert!(process.open_fds.unwrap() > 0);
        assert!(process.resident_bytes.unwrap() > 0);
        assert!(process.virtual_bytes >= process.resident_bytes);
        let age = SystemTime::UNIX_EPOCH.elapsed().unwrap().checked_sub(process.started.unwrap());
        assert!(age.is_some_and(|age| age < Duration::from_secs(24 * 60 * 60)), "{age:?}");
    }
}
