//! Time zones by name.

use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use rhai::Dynamic;

use crate::native::Thrown;
use crate::native::args::{self, cut, fail};

/// `Europe/Berlin`, `UTC`, `+02:00`; `()` is UTC. Never that of the machine, which would differ between hosts.
pub fn zone(function: &str, name: &Dynamic) -> Result<TimeZone, Thrown> {
    if name.is_unit() {
        return Ok(TimeZone::UTC);
    }
    let name = args::text(&format!("{function}: the time zone"), name)?;
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let zones = TimeZoneDatabase::bundled();
    let found = match name.starts_with(['+', '-']) {
        true => DateTimeParser::new().parse_time_zone_with(&zones, name.as_str()),
        false => zones.get(&name),
    };
    found.or_else(|_| {
        let name = cut(&name, 60);
        let near = zones.available().map(|zone| zone.to_string());
        let near = near.map(|zone| (strsim::jaro_winkler(&zone.to_lowercase(), &name.to_lowercase()), zone));
        let help = match near.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
            Some((likeness, zone)) if likeness > 0.85 => format!("did you mean {zone:?}?"),
            _ => "it would be like \"Europe/Berlin\", \"UTC\" or \"+02:00\"".into(),
        };
        fail(format!("{function}: there is no time zone {name:?}; {help}"))
    })
}
