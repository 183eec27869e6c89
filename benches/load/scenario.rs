//! Canned comparisons: what grows with what, each as setups that differ in one thing.

use clap::ValueEnum;

use crate::options::{Arrivals, Options};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Few tasks waiting against many.
    Backlog,
    /// Few distinct requirements against many.
    Classes,
    /// Few distinct worker profiles against many, with as many workers.
    Profiles,
    /// What thousands of parked workers cost while nothing happens.
    Parked,
    /// Time to start at a low load, beside the floor of this machine.
    Latency,
    /// kill -9 with a large backlog, and the time to the first claim.
    Recovery,
    /// Memory after few finished tasks against many.
    Retention,
    /// All of them.
    All,
}

const EACH: [Scenario; 7] = [
    Scenario::Backlog,
    Scenario::Classes,
    Scenario::Profiles,
    Scenario::Parked,
    Scenario::Latency,
    Scenario::Recovery,
    Scenario::Retention,
];

impl Scenario {
    /// Itself, or each.
    pub(crate) fn each(self) -> Vec<Self> {
        if self == Self::All { EACH.to_vec() } else { vec![self] }
    }

    /// Whether the floor belongs beside it.
    pub(crate) fn wants_floor(self) -> bool {
        self == Self::Latency
    }

    /// What is compared, with the large side multiplied by `--scale`.
    pub(crate) fn setups(self, base: &Options) -> Vec<Options> {
        let large = |count: u64| ((count as f64 * base.scale) as u64).max(1);
        let room = |count: usize| large(count as u64) as usize;
        let with = |change: &dyn Fn(&mut Options)| {
            let mut setup = base.clone();
            change(&mut setup);
            setup
        };
        match self {
            Self::Backlog => [1_000, large(1_000_000)]
                .map(|backlog| with(&|setup| setup.backlog = backlog))
                .to_vec(),
            Self::Classes => {
                [10, room(10_000)].map(|classes| with(&|setup| setup.classes = classes)).to_vec()
            }
            Self::Profiles => [50, room(5_000)]
                .map(|profiles| {
                    with(&|setup| {
                        setup.profiles = profiles;
                        setup.workers = room(5_000).max(50);
                    })
                })
                .to_vec(),
            Self::Parked => vec![with(&|setup| {
                setup.workers = room(10_000);
                setup.idle_seconds = setup.idle_seconds.max(20);
            })],
            Self::Latency => vec![with(&|setup| {
                setup.arrivals = Arrivals::Poisson { per_second: 50.0 };
                setup.tasks = 1_000;
                setup.warm_up = 100;
            })],
            Self::Recovery => vec![with(&|setup| {
                setup.backlog = large(1_000_000);
                setup.recover = true;
                setup.tasks = setup.tasks.min(2_000);
            })],
            Self::Retention => {
                let setup = |tasks| with(&|setup| (setup.tasks, setup.keys) = (tasks, true));
                [50_000, large(5_000_000)].map(setup).to_vec()
            }
            Self::All => EACH.iter().flat_map(|scenario| scenario.setups(base)).collect(),
        }
    }
}

/// The setups of a plot: against workers, and against the backlog.
pub(crate) fn sweeps(base: &Options) -> (Vec<Options>, Vec<Options>) {
    let large = (1_000_000.0 * base.scale) as u64;
    let fleets = [10, 30, 100, 300, 1_000, 3_000, 10_000];
    let workers = fleets.into_iter().filter(|workers| *workers as f64 <= 10_000.0 * base.scale);
    let workers = workers.map(|workers| Options { workers, backlog: 0, ..base.clone() });
    let backlogs = [1_000, 10_000, 100_000, 1_000_000].into_iter();
    let backlogs = backlogs.filter(|backlog| *backlog <= large.max(1_000));
    let backlogs = backlogs.map(|backlog| Options { backlog, ..base.clone() });
    (workers.collect(), backlogs.collect())
}
