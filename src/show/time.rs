//! Unix seconds in, calendar text out (UTC, proleptic Gregorian); knows no time zone and reads no clock.

use std::time::{Duration, SystemTime};

const DAY: i64 = 86_400;
/// 0000-01-01 and 9999-12-31: what four digits of a year can say. Times beyond are shown as the nearest of them.
const SHOWN: (i64, i64) = (-62_167_219_200, 253_402_300_799);

/// `2026-07-04 12:30:00 UTC`.
pub fn utc(unix_seconds: i64) -> String {
    let (date, time) = calendar(unix_seconds);
    format!("{date} {time} UTC")
}

/// `2026-07-04T12:30:00.250Z` (RFC 3339, milliseconds).
pub fn rfc3339(at: SystemTime) -> String {
    let seconds = unix_seconds(at);
    let millis = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
    let (date, time) = calendar(seconds);
    format!("{date}T{time}.{millis:03}Z")
}

/// Whole seconds since 1970; a time before that is negative.
pub fn unix_seconds(at: SystemTime) -> i64 {
    let whole = |gap: Duration| i64::try_from(gap.as_secs()).unwrap_or(i64::MAX);
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    }
}

/// Whole days from `now` until `not_after`, both Unix seconds; negative once it has passed (-1: within the last day).
pub fn days_left(not_after: i64, now: i64) -> i64 {
    not_after.saturating_sub(now).div_euclid(DAY)
}

/// Date and time of day. The date is counted in years that begin in March, so that a leap day comes last.
fn calendar(unix_seconds: i64) -> (String, String) {
    let clamped = unix_seconds.clamp(SHOWN.0, SHOWN.1);
    let (days, second) = (clamped.div_euclid(DAY), clamped.rem_euclid(DAY));
    let since_march_year_0 = days + 719_468;
    let era = since_march_year_0.div_euclid(146_097); // days in 400 years
    let day_of_era = since_march_year_0.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let date = format!("{year:04}-{month:02}-{day:02}");
    (date, format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_from_1950_to_9999_are_right() {
        for (seconds, expected) in [
            (-631_152_000, "1950-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC"),
            (1_767_225_599, "2025-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
            (i64::MAX, "9999-12-31 23:59:59 UTC"),
            (i64::MIN, "0000-01-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }

    #[test]
    fn rfc3339_has_milliseconds() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_599_042);
        assert_eq!(rfc3339(at), "2025-12-31T23:59:59.042Z");
        assert_eq!(unix_seconds(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), -5);
    }

    #[test]
    fn days_left_turn_negative_at_the_moment_of_expiry() {
        assert_eq!(days_left(DAY, 0), 1);
        assert_eq!(days_left(DAY - 1, 0), 0);
        assert_eq!(days_left(0, 1), -1);
        assert_eq!(days_left(0, 3 * DAY), -3);
    }
}
