//! How long a probe may take: the module's timeout, and what the scrape leaves.

use std::time::Duration;

/// What Prometheus says about its own patience, in seconds.
pub(super) const HEADER: &str = "x-prometheus-scrape-timeout-seconds";
/// When the request does not say: longer than any scrape.
const WITHOUT_HEADER: f64 = 120.0;
/// Longer scrapes are taken for this long: enough for any, and small enough to calculate with.
const LONGEST: f64 = 86_400.0;
/// No probe gets less, or it could not even begin.
const SHORTEST: Duration = Duration::from_millis(1);

/// The limit of a probe: `module`, but never more than the scrape minus `offset` seconds.
///
/// A scrape that is not longer than the offset gets its whole length: late is better than never. Zero counts as not
/// given, for scrape and module alike.
pub(super) fn limit(module: Option<Duration>, header: Option<&str>, offset: f64) -> Result<Duration, String> {
    let scrape = match header.filter(|text| !text.is_empty()).map(seconds).transpose()? {
        None | Some(0.0) => WITHOUT_HEADER,
        Some(given) => given.min(LONGEST),
    };
    let left = scrape - offset.max(0.0);
    let most = Duration::from_secs_f64(if left > 0.0 { left } else { scrape });
    let limit = module.filter(|timeout| !timeout.is_zero()).map_or(most, |timeout| timeout.min(most));
    Ok(limit.max(SHORTEST))
}

fn seconds(text: &str) -> Result<f64, String> {
    let wrong = || format!("\"{}\" is not a number of seconds", text.escape_debug());
    text.trim().parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn millis(module: f64, header: &str, offset: f64) -> u128 {
        limit(Some(Duration::from_secs_f64(module)), Some(header), offset).unwrap().as_millis()
    }

    #[test]
    fn the_table_of_blackbox_exporter_holds() {
        for (module, header, offset, expected) in [
            (0.0, "15", 0.5, 14_500),
            (0.0, "15", 0.0, 15_000),
            (20.0, "15", 0.5, 14_500),
            (20.0, "15", 0.0, 15_000),
            (5.0, "15", 0.0, 5_000),
            (5.0, "15", 0.5, 5_000),
            (10.0, "", 0.5, 10_000),
            (10.0, "10", 0.5, 9_500),
            (9.5, "", 0.5, 9_500),
            (9.5, "", 1.0, 9_500),
            (0.0, "", 0.5, 119_500),
            (0.0, "", 0.0, 120_000),
            (3.0, "1", 0.5, 500),
            (3.0, "0", 0.5, 3_000),
        ] {
            assert_eq!(millis(module, header, offset), expected, "{module} {header} {offset}");
        }
        assert_eq!(limit(None, None, 0.5), Ok(Duration::from_millis(119_500)));
    }

    #[test]
    fn a_probe_never_outlives_its_scrape_nor_gets_nothing() {
        assert_eq!(millis(3.0, "0.2", 0.5), 200);
        assert_eq!(millis(0.1, "0.2", 0.5), 100);
        assert_eq!(millis(0.0, "0.5", 0.5), 500);
        assert_eq!(millis(0.0, "1e-30", 0.5), 1);
        assert_eq!(millis(0.0, "1e300", 0.0), 86_400_000);
        assert_eq!(millis(0.0, "2", -5.0), 2_000);
        assert_eq!(millis(0.0, "2", f64::NAN), 2_000);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["x", "5s", "-5", "Inf", "NaN", "1,5"] {
            let error = limit(None, Some(text), 0.5).unwrap_err();
            assert!(error.contains(&format!("\"{text}\"")), "{error}");
        }
    }
}
