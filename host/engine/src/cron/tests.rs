use std::time::Instant;

use super::*;

/// Expression, zone, a moment after which to begin, and what follows, each as it reads on a clock there.
#[track_caller]
fn follow(cases: &[(&str, &str, &str, &[&str])]) {
    for (text, zone, from, expected) in cases {
        let cron = Cron::parse(text, zone).unwrap_or_else(|why| panic!("{why}"));
        let mut at = from.parse::<Timestamp>().expect(from).as_millisecond() as Millis;
        for wanted in *expected {
            let found = cron.next_after(at);
            let clock = found.map(|at| {
                let moment = Timestamp::from_millisecond(at as i64).expect("a moment");
                moment.to_zoned(cron.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
            });
            assert_eq!(clock.as_deref().unwrap_or("never"), *wanted, "{cron} after {at}");
            at = found.unwrap_or(at);
        }
    }
}

#[test]
fn expressions() {
    follow(&[
        (
            "0 9 * * MON-FRI",
            "UTC",
            "2026-01-02T09:00:00Z",
            &["2026-01-05 09:00:00 +00:00", "2026-01-06 09:00:00 +00:00"],
        ),
        ("* * * * *", "UTC", "2026-01-02T23:59:59.999Z", &["2026-01-03 00:00:00 +00:00", "2026-01-03 00:01:00 +00:00"]),
        (
            "*/20 0 9 * jan mon",
            "UTC",
            "2026-01-02T09:00:00Z",
            &["2026-01-05 09:00:00 +00:00", "2026-01-05 09:00:20 +00:00"],
        ),
        ("0 0 * * 7", "UTC", "2026-01-02T00:00:00Z", &["2026-01-04 00:00:00 +00:00"]),
        ("0 0 * * 0,6", "UTC", "2026-01-02T00:00:00Z", &["2026-01-03 00:00:00 +00:00", "2026-01-04 00:00:00 +00:00"]),
        ("0 0 * * 5-7", "UTC", "2026-01-03T00:00:00Z", &["2026-01-04 00:00:00 +00:00", "2026-01-09 00:00:00 +00:00"]),
        (
            "5/20 10-12/2 1 * *",
            "UTC",
            "2026-01-01T10:25:00Z",
            &["2026-01-01 10:45:00 +00:00", "2026-01-01 12:05:00 +00:00"],
        ),
        // Both days are told: either will do.
        ("0 0 13 * FRI", "UTC", "2026-01-09T00:00:00Z", &["2026-01-13 00:00:00 +00:00", "2026-01-16 00:00:00 +00:00"]),
        ("0 0 ? * FRI", "UTC", "2026-01-09T00:00:00Z", &["2026-01-16 00:00:00 +00:00"]),
        ("0 0 L * *", "UTC", "2026-01-31T00:00:00Z", &["2026-02-28 00:00:00 +00:00", "2026-03-31 00:00:00 +00:00"]),
        ("0 0 15,L 2 *", "UTC", "2028-01-31T00:00:00Z", &["2028-02-15 00:00:00 +00:00", "2028-02-29 00:00:00 +00:00"]),
        ("0 0 * * FRI#2", "UTC", "2026-01-01T00:00:00Z", &["2026-01-09 00:00:00 +00:00", "2026-02-13 00:00:00 +00:00"]),
        ("0 0 * * 5L", "UTC", "2026-01-01T00:00:00Z", &["2026-01-30 00:00:00 +00:00", "2026-02-27 00:00:00 +00:00"]),
        (
            "0 0 * * MON#L,TUE#1",
            "UTC",
            "2026-01-06T00:00:00Z",
            &["2026-01-26 00:00:00 +00:00", "2026-02-03 00:00:00 +00:00"],
        ),
        ("@weekly", "UTC", "2026-01-01T00:00:00Z", &["2026-01-04 00:00:00 +00:00"]),
        ("@hourly", "Asia/Kolkata", "2026-01-01T00:00:00Z", &["2026-01-01 06:00:00 +05:30"]),
        ("0 0 * * *", "UTC", "1970-01-01T00:00:00Z", &["1970-01-02 00:00:00 +00:00"]),
    ]);
}

#[test]
fn leap_days_and_days_that_never_come() {
    follow(&[
        ("0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", &["2104-02-29 00:00:00 +00:00"]),
        ("0 0 * 2 MON#5", "UTC", "2088-03-01T00:00:00Z", &["2112-02-29 00:00:00 +00:00"]),
        ("0 0 31 1,3 *", "UTC", "2026-02-01T00:00:00Z", &["2026-03-31 00:00:00 +00:00"]),
    ]);
    for (text, zone) in
        [("0 0 30 2 *", "UTC"), ("0 0 31 4,6,9,11 *", "Europe/Berlin"), ("* * 30 2 *", "America/New_York")]
    {
        let begun = Instant::now();
        assert_eq!(Cron::parse(text, zone).expect(text).next_after(1_700_000_000_000), None, "{text}");
        assert!(begun.elapsed().as_millis() < 200, "{text} took {:?}", begun.elapsed());
    }
    let daily = Cron::parse("@daily", "Europe/Berlin").expect("a schedule");
    assert_eq!(daily.next_after(Millis::MAX), None);
    assert_eq!(daily.next_after(253_402_200_000_000), None, "the calendar ends");
}

#[test]
fn the_clocks_go_forward() {
    follow(&[
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            &["2026-03-28 02:30:00 +01:00", "2026-03-29 03:00:00 +02:00", "2026-03-30 02:30:00 +02:00"],
        ),
        // Three times that do not exist come to one moment, which is also due by itself.
        (
            "0,20,40 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            &["2026-03-29 03:00:00 +02:00", "2026-03-29 03:20:00 +02:00"],
        ),
        (
            "30 1,2 * * *",
            "America/New_York",
            "2026-03-08T04:30:00Z",
            &["2026-03-08 01:30:00 -05:00", "2026-03-08 03:00:00 -04:00", "2026-03-09 01:30:00 -04:00"],
        ),
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-03-28T23:30:00Z",
            &["2026-03-29 01:00:00 +01:00", "2026-03-29 03:00:00 +02:00", "2026-03-29 04:00:00 +02:00"],
        ),
        (
            "*/45 * * * *",
            "America/New_York",
            "2026-03-08T06:40:00Z",
            &["2026-03-08 01:45:00 -05:00", "2026-03-08 03:00:00 -04:00"],
        ),
        // Half an hour, midnight, and a whole day.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00:00Z",
            &["2026-10-04 02:30:00 +11:00", "2026-10-05 02:15:00 +11:00"],
        ),
        (
            "30 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T09:00:00Z",
            &["2018-11-04 01:00:00 -02:00", "2018-11-05 00:30:00 -02:00"],
        ),
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T09:00:00Z",
            &["2011-12-29 12:00:00 -10:00", "2011-12-31 00:00:00 +14:00", "2011-12-31 12:00:00 +14:00"],
        ),
    ]);
}

#[test]
fn the_clocks_go_back() {
    follow(&[
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T00:00:00Z",
            &["2026-10-24 02:30:00 +02:00", "2026-10-25 02:30:00 +02:00", "2026-10-26 02:30:00 +01:00"],
        ),
        (
            "*/30 1,2 * * *",
            "America/New_York",
            "2026-11-01T05:20:00Z",
            &["2026-11-01 01:30:00 -04:00", "2026-11-01 02:00:00 -05:00", "2026-11-01 02:30:00 -05:00"],
        ),
        // Asked in the second pass.
        ("30 1 * * *", "America/New_York", "2026-11-01T06:10:00Z", &["2026-11-02 01:30:00 -05:00"]),
        (
            "*/30 * * * *",
            "America/New_York",
            "2026-11-01T05:00:00Z",
            &[
                "2026-11-01 01:30:00 -04:00",
                "2026-11-01 01:00:00 -05:00",
                "2026-11-01 01:30:00 -05:00",
                "2026-11-01 02:00:00 -05:00",
            ],
        ),
        // Every hour of one day, which is far away and has 25.
        (
            "0 * 25 10 *",
            "Europe/Berlin",
            "2026-01-01T00:00:00Z",
            &["2026-10-25 00:00:00 +02:00", "2026-10-25 01:00:00 +02:00"],
        ),
        (
            "0 * 25 10 *",
            "Europe/Berlin",
            "2026-10-25T00:00:00Z",
            &["2026-10-25 02:00:00 +01:00", "2026-10-25 03:00:00 +01:00"],
        ),
    ]);
}

/// What comes next is later, and nothing between fits better: from any moment between, the same comes next.
#[test]
fn nothing_is_skipped() {
    for (text, zone) in [
        ("*/7 1-3 * * *", "Europe/Berlin"),
        ("30 2 * 3,10,11 SUN", "America/New_York"),
        ("*/15 * 1-8,25-31 * *", "Australia/Lord_Howe"),
    ] {
        let cron = Cron::parse(text, zone).expect(text);
        for start in [1_774_600_000_000, 1_793_300_000_000, 1_772_000_000_000, 1_792_800_000_000_u64] {
            let mut at = start;
            while at < start + 4 * 86_400_000 {
                let next = cron.next_after(at).expect("there is always one");
                assert!(next > at);
                for between in [at + 1, at + (next - at) / 3, at + (next - at) / 2, next - 1] {
                    assert_eq!(cron.next_after(between), Some(next), "{text} {zone} after {between}");
                }
                at = next;
            }
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, expected) in [
        ("", "\"\" is no schedule: it has 0 fields, not 5 (minute, hour, day, month, weekday) or 6 (seconds first)"),
        ("daily", "\"daily\" is no schedule: it has 1 field, not 5"),
        ("* * * * * * *", "\"* * * * * * *\" is no schedule: it has 7 fields"),
        ("@reboot", "\"@reboot\" is no schedule: there are @hourly, @daily, @weekly, @monthly and @yearly"),
        ("60 * * * *", "\"60 * * * *\" is no schedule: \"60\" is no minute: they go from 0 to 59"),
        ("0 24 * * *", "\"0 24 * * *\" is no schedule: \"24\" is no hour: they go from 0 to 23"),
        ("0 0 0 * *", "\"0 0 0 * *\" is no schedule: \"0\" is no day of the month: they go from 1 to 31"),
        (
            "0 0 * * MOM",
            "\"0 0 * * MOM\" is no schedule: \"MOM\" is no day of the week: they go from 0 to 7; did you mean MON?",
        ),
        ("0 0 * 13 *", "\"0 0 * 13 *\" is no schedule: \"13\" is no month: they go from 1 to 12, or JAN to DEC"),
        ("*/0 * * * *", "\"*/0 * * * *\" is no schedule: \"*/0\" in the minute: a step is a whole number from 1"),
        ("5-1 * * * *", "\"5-1 * * * *\" is no schedule: \"5-1\" in the minute ends before it begins"),
        ("1,,2 * * * *", "\"1,,2 * * * *\" is no schedule: \"\" is no minute"),
        ("+5 * * * *", "\"+5 * * * *\" is no schedule: \"+5\" is no minute"),
        ("*/+5 * * * *", "\"*/+5 * * * *\" is no schedule: \"*/+5\" in the minute: a step"),
        ("0 0 * * FRI#6", "\"0 0 * * FRI#6\" is no schedule: \"FRI#6\" names no day: after the # comes 1 to 5"),
        ("99999999999 * * * *", "\"99999999999 * * * *\" is no schedule: \"99999999999\" is no minute"),
        ("💥 * * * *", "\"💥 * * * *\" is no schedule: \"💥\" is no minute"),
    ] {
        let why = Cron::parse(text, "UTC").expect_err(text);
        assert!(why.starts_with(expected), "\n found: {why}\nwanted: {expected}");
    }
    for (zone, expected) in [
        ("Europe/Berln", "there is no time zone \"Europe/Berln\"; did you mean \"Europe/Berlin\"?"),
        ("", "there is no time zone \"\"; it would be like \"Europe/Berlin\" or \"UTC\""),
        ("+02:00", "there is no time zone \"+02:00\""),
    ] {
        let why = Cron::parse("@daily", zone).expect_err(zone);
        assert!(why.starts_with(expected), "\n found: {why}\nwanted: {expected}");
    }
    assert_eq!(Cron::parse(" 0 9 * * * ", "Europe/Berlin").expect("fits").to_string(), "0 9 * * * (Europe/Berlin)");
    assert_eq!(Cron::parse("@daily", "UTC").expect("fits").to_string(), "@daily");
}
