//! Which traces are recorded.

use durhai::observe::{TraceContext, TraceId};

/// As `OTEL_TRACES_SAMPLER` names them. What is decided for a trace is the same on every host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    AlwaysOn,
    AlwaysOff,
    /// This share of all traces, by their ids; from 0 to 1.
    Ratio(f64),
    /// As the caller that started the run decided; this one where none did.
    ParentBased(Root),
}

/// What [`Sampler::ParentBased`] does with a trace that begins here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Root {
    AlwaysOn,
    AlwaysOff,
    Ratio(f64),
}

/// The standard's default.
impl Default for Sampler {
    fn default() -> Self {
        Sampler::ParentBased(Root::AlwaysOn)
    }
}

impl Sampler {
    /// From the values of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub fn parse(name: &str, argument: Option<&str>) -> Result<Self, String> {
        let ratio = || match argument.map_or(Ok(1.0), |text| text.trim().parse::<f64>()) {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err(format!("OTEL_TRACES_SAMPLER_ARG is {:?}; it must be from 0 to 1", argument.unwrap_or_default())),
        };
        Ok(match name.trim() {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::Ratio(ratio()?),
            "parentbased_always_on" => Sampler::ParentBased(Root::AlwaysOn),
            "parentbased_always_off" => Sampler::ParentBased(Root::AlwaysOff),
            "parentbased_traceidratio" => Sampler::ParentBased(Root::Ratio(ratio()?)),
            other => {
                return Err(format!(
                    "OTEL_TRACES_SAMPLER is {other:?}; there are always_on, always_off, traceidratio, \
                     parentbased_always_on, parentbased_always_off and parentbased_traceidratio"
                ));
            }
        })
    }

    pub fn samples(&self, trace: &TraceId, starter: Option<&TraceContext>) -> bool {
        match (self, starter) {
            (Sampler::AlwaysOn, _) => true,
            (Sampler::AlwaysOff, _) => false,
            (Sampler::Ratio(ratio), _) => is_below(trace, *ratio),
            (Sampler::ParentBased(_), Some(starter)) => starter.is_sampled(),
            (Sampler::ParentBased(Root::AlwaysOn), None) => true,
            (Sampler::ParentBased(Root::AlwaysOff), None) => false,
            (Sampler::ParentBased(Root::Ratio(ratio)), None) => is_below(trace, *ratio),
        }
    }
}

/// As other exporters decide it: by the last 63 bits of the id.
fn is_below(trace: &TraceId, ratio: f64) -> bool {
    let [.., a, b, c, d, e, f, g, h] = *trace.bytes();
    let bits = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    ratio >= 1.0 || bits < (ratio.max(0.0) * (1_u64 << 63) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use durhai::RunId;

    fn of_run(n: u32) -> TraceContext {
        TraceContext::of_run(&RunId::new(format!("run-{n}")).unwrap(), None)
    }

    #[test]
    fn names_of_the_standard() {
        for (name, argument, sampler) in [
            ("always_on", None, Sampler::AlwaysOn),
            ("always_off", Some("ignored"), Sampler::AlwaysOff),
            ("traceidratio", Some("0.25"), Sampler::Ratio(0.25)),
            ("traceidratio", None, Sampler::Ratio(1.0)),
            ("parentbased_always_on", None, Sampler::default()),
            ("parentbased_always_off", None, Sampler::ParentBased(Root::AlwaysOff)),
            ("parentbased_traceidratio", Some("0"), Sampler::ParentBased(Root::Ratio(0.0))),
        ] {
            assert_eq!(Sampler::parse(name, argument), Ok(sampler));
        }
        for (name, argument) in
            [("", None), ("jaeger_remote", None), ("traceidratio", Some("2")), ("traceidratio", Some("x"))]
        {
            assert!(Sampler::parse(name, argument).is_err(), "{name} {argument:?}");
        }
    }

    #[test]
    fn a_share_of_the_traces() {
        for (ratio, wanted) in [(0.0, 0..=0), (0.25, 400..=600), (1.0, 2_000..=2_000)] {
            let share = (0..2_000).filter(|n| Sampler::Ratio(ratio).samples(&of_run(*n).trace, None)).count();
            assert!(wanted.contains(&share), "{ratio}: {share}");
        }
    }

    #[test]
    fn who_starts_a_run_decides() {
        let starter = of_run(1);
        for sampler in [Root::AlwaysOn, Root::AlwaysOff, Root::Ratio(0.5)].map(Sampler::ParentBased) {
            assert!(sampler.samples(&starter.trace, Some(&starter.sampled(true))));
            assert!(!sampler.samples(&starter.trace, Some(&starter.sampled(false))));
        }
        assert!(Sampler::AlwaysOn.samples(&starter.trace, Some(&starter.sampled(false))));
        assert!(!Sampler::AlwaysOff.samples(&starter.trace, Some(&starter.sampled(true))));
    }
}
