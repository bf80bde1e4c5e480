//! Which hosts there are, and which of them holds what.

use super::tools::*;
use super::{Cases, Subject};
use crate::World;

pub const CASES: Cases = &[("hosts: who is there, and who holds which run", hosts)];

/// Names of hosts that live, each with how many runs it holds; with `all` also of those that do not.
fn seen(world: &dyn World, all: bool) -> Vec<(String, bool, u64)> {
    let hosts = world.hosts(all).expect("works");
    assert!(hosts.windows(2).all(|two| two[0].host.number < two[1].host.number), "{hosts:?}");
    let living = hosts.iter().filter(|seen| seen.alive).count() as u64;
    assert_eq!(world.living().expect("works"), living);
    hosts.iter().map(|seen| (seen.host.name.to_string(), seen.alive, seen.runs)).collect()
}

fn hosts(subject: &Subject<'_>) {
    let world = (subject.make)();
    let (h, i) = (holder("h"), holder("i"));
    for holder in [&h, &i] {
        assert!(world.renew(holder, 10).expect("works").alive);
    }
    let a = held(&*world, row("a"), &h);
    let b = held(&*world, row("b"), &h);
    held(&*world, row("c"), &i);
    write_all(&*world, vec![new(row("free"), None)]);
    let runs = ["a", "b", "c", "free", "gone", "a"].map(id);
    let holders = || -> Vec<Option<String>> {
        let found = world.holders(&runs).expect("works");
        found.into_iter().map(|host| host.map(|host| host.name.to_string())).collect()
    };
    let owned = |names: [Option<&str>; 6]| names.map(|name| name.map(str::to_owned)).to_vec();
    let of = |name: &str, alive, runs| (name.to_owned(), alive, runs);
    if world.hosts(true).expect("works").is_empty() {
        // It cannot tell.
        return assert_eq!(holders(), owned([None; 6]));
    }
    assert_eq!(seen(&*world, false), [of("h", true, 2), of("i", true, 1)]);
    assert_eq!(holders(), owned([Some("h"), Some("h"), Some("i"), None, None, Some("h")]));
    write_all(&*world, vec![ends(&a)]);
    assert_eq!(holders(), owned([None, Some("h"), Some("i"), None, None, None]));
    assert_eq!(world.holders(&[]).expect("works"), []);
    if !subject.leases {
        write_all(&*world, vec![release(&b)]);
        assert_eq!(seen(&*world, false), [of("h", true, 0), of("i", true, 1)]);
        return undamaged(&*world);
    }
    assert!(world.renew(&i, 10 + LEASE / 2).expect("works").alive);
    assert!(world.renew(&i, 12 + LEASE).expect("works").alive);
    assert_eq!(holders(), owned([None, None, Some("i"), None, None, None]));
    assert_eq!(seen(&*world, false), [of("i", true, 1)]);
    assert_eq!(seen(&*world, true), [of("h", false, 0), of("i", true, 1)]);
    undamaged(&*world);
}
