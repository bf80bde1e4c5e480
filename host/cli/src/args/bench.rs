//! `durhai bench`.

use clap::Args;
use clap::builder::PossibleValuesParser;
use durhai_bench::section::Section;
use durhai_bench::sizes::Sizes;

/// What `bench` measures, and with how much.
#[derive(Debug, Clone, Args)]
pub struct Bench {
    /// Only these parts, separated by commas, and the floor. Without it all but `sleepers`, which takes minutes and gigabytes of
    /// disk; the others take some minutes together.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Section::ALL.map(Section::name)))]
    only: Vec<String>,
    /// Sizes at which everything takes seconds: shows that it works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Runs of the parts that fill a store. Default: 60000 in `sustained`, 200000 in `evicted` and `finished`, 1000000 in
    /// `sleepers`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(100..))]
    runs: Option<u32>,
    /// Steps of the run in `long`. Default: 50000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(100..))]
    steps: Option<u32>,
    /// Runs in `memory`, which wait there with their fibers. Default: 20000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(100..))]
    waiting: Option<u32>,
    /// What a child process of the bench does.
    #[arg(long, hide = true, num_args = 3, value_names = ["WHAT", "DIR", "COUNT"])]
    pub child: Option<Vec<String>>,
}

impl Bench {
    /// The floor is always measured: without it no figure of one machine says anything about another.
    pub fn sections(&self, database: bool) -> Vec<Section> {
        let named = |section: Section| self.only.iter().any(|only| only == section.name());
        let wanted = |section: &Section| match self.only.is_empty() {
            true if database => section.is_shared(),
            true => !section.is_special(),
            false => *section == Section::Floor || named(*section),
        };
        Section::ALL.into_iter().filter(wanted).collect()
    }

    /// Whether nobody should wait for it without being told.
    pub fn takes_long(&self) -> bool {
        !self.quick && self.only.is_empty()
    }

    pub fn sizes(&self) -> Sizes {
        let mut sizes = if self.quick { Sizes::quick() } else { Sizes::full() };
        if let Some(runs) = self.runs {
            sizes = sizes.with_runs(runs as usize);
        }
        if let Some(steps) = self.steps {
            sizes = sizes.with_steps(steps as usize);
        }
        Sizes { waiting: self.waiting.map_or(sizes.waiting, |waiting| waiting as usize), ..sizes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    #[test]
    fn sections_are_chosen_by_name() {
        let all = Section::ALL.len();
        for (line, count, last) in [
            ("", all - 3, "finished"),
            ("--quick", all - 3, "finished"),
            ("--only step", 2, "step"),
            ("--only floor", 1, "floor"),
            ("--only sleepers,step", 3, "sleepers"),
            ("--only signal", 2, "signal"),
        ] {
            let words = std::iter::once("bench").chain(line.split_whitespace());
            let sections = Line::parse_from(words).bench.sections(false);
            assert_eq!((sections.len(), sections[count - 1].name()), (count, last), "{line:?}");
        }
    }

    #[test]
    fn sizes_are_those_that_are_given() {
        for (line, long, stored, sleepers, waiting) in [
            ("", [100, 10_000, 50_000], 200_000, 1_000_000, 20_000),
            ("--runs 3000", [100, 10_000, 50_000], 3_000, 3_000, 20_000),
            ("--steps 5000 --waiting 100", [100, 1_000, 5_000], 200_000, 1_000_000, 100),
            ("--quick --steps 100", [10, 20, 100], 800, 1_000, 400),
        ] {
            let words = std::iter::once("bench").chain(line.split_whitespace());
            let sizes = Line::parse_from(words).bench.sizes();
            let found = (sizes.long, sizes.stored, sizes.sleepers, sizes.waiting);
            assert_eq!(found, (long, stored, sleepers, waiting), "{line:?}");
        }
    }
}
