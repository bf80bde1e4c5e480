//! The parts of durhai on their own: `cargo bench --bench parts [-- FILTER]`. What the whole does on this machine is
//! told by `durhai bench`.

mod commit;
mod compat;
mod host;
mod replay;
mod script;
mod store;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(20)
        .nresamples(10_000)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    replay::bench(&mut criterion);
    script::bench(&mut criterion);
    let ratios = commit::bench(&mut criterion);
    store::bench(&mut criterion);
    host::bench(&mut criterion);
    compat::bench(&mut criterion);
    criterion.final_summary();
    ratios.print();
    if std::env::args().any(|arg| arg == "compat") {
        compat::print();
    }
}
