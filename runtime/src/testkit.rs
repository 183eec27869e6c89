//! A world for one test: paused time, systems that are drained at its end, and an account of what
//! crashed.
//!
//! ```
//! use fleetward_runtime::testkit::World;
//! use fleetward_runtime::{Strategy, SupervisorSpec};
//!
//! World::run(async |world| {
//!     let system = world.start("system", SupervisorSpec::new(Strategy::OneForOne)).await;
//!     assert_eq!(system.observe().len(), 1);
//! });
//! ```

use std::time::Duration;

use parking_lot::Mutex;

use crate::faults::path_ends_with;
use crate::{Clock, CrashRecord, Faults, Options, StartError, SupervisorSpec, System};

/// When a world begins: 2026-01-01T00:00:00Z, in µs since 1970. Fixed, so that transcripts may
/// name times.
pub const START_WALL_US: i64 = 1_767_225_600_000_000;

/// How long the systems of a world may take to drain, in paused time: longer than anything sane.
const DRAIN_WITHIN: Duration = Duration::from_secs(3_600);

/// What one test plays in. It runs on one thread, in paused time: the clock jumps to the next timer
/// whenever nobody has anything to do.
///
/// No sockets, files on other threads or real databases in here: while those are waited for, paused
/// time runs ahead. Use [`Clock::manual`] for stories with them.
#[derive(Debug)]
pub struct World {
    clock: Clock,
    faults: Faults,
    systems: Mutex<Vec<System>>,
    expected: Mutex<Vec<String>>,
}

impl World {
    /// Plays `test`, then drains its systems and checks what became of their actors.
    ///
    /// # Panics
    /// Where the test panics; if an actor crashed that no [`expect_crash`](Self::expect_crash)
    /// names, or one that is named did not; if an actor could not work off its queue, or is still
    /// alive when everything was stopped.
    pub fn run(test: impl AsyncFnOnce(&Self)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without sockets needs nothing that could be missing");
        runtime.block_on(async {
            let world = Self {
                clock: Clock::starting_at(START_WALL_US),
                faults: Faults::default(),
                systems: Mutex::default(),
                expected: Mutex::default(),
            };
            test(&world).await;
            let complaints = world.end().await;
            assert!(complaints.is_empty(), "the world is not as it should be: {complaints:#?}");
        });
    }

    /// Starts a system that belongs to this world.
    ///
    /// # Panics
    /// If it does not start; see [`try_start`](Self::try_start).
    pub async fn start(&self, name: &str, spec: SupervisorSpec) -> System {
        self.try_start(name, spec).await.expect("the system of this test starts")
    }

    /// Starts a system that belongs to this world, or not.
    ///
    /// # Errors
    /// As for [`System::start`].
    pub async fn try_start(&self, name: &str, spec: SupervisorSpec) -> Result<System, StartError> {
        let system = System::start(name, spec, self.options()).await?;
        self.adopt(&system);
        Ok(system)
    }

    /// What to start a system with that other code starts; then [`adopt`](Self::adopt) it.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { clock: self.clock.clone(), faults: self.faults.clone() }
    }

    /// Takes over a system that other code started.
    pub fn adopt(&self, system: &System) {
        self.systems.lock().push(system.clone());
    }

    /// The clock of this world. It follows paused time from [`START_WALL_US`].
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The faults of this world.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Actors whose path ends in `path_suffix` are to crash, or fail to start, at least once.
    pub fn expect_crash(&self, path_suffix: &str) {
        self.expected.lock().push(path_suffix.to_owned());
    }

    /// Lets `time` pass, and everything happen that is due by then.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Lets everything happen that is due now; one millisecond passes.
    pub async fn settle(&self) {
        self.pass(Duration::from_millis(1)).await;
    }

    async fn end(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut crashes = Vec::new();
        let systems = std::mem::take(&mut *self.systems.lock());
        // Those started last may build on those started first.
        for system in systems.iter().rev() {
            let drained = system.drain(DRAIN_WITHIN).await;
            complaints.extend(drained.cut_off.iter().map(|path| format!("{path} was cut off")));
            complaints.extend(drained.alive.iter().map(|path| format!("{path} is still alive")));
            crashes.append(&mut system.crashes());
        }
        self.judge(&crashes, &mut complaints);
        complaints
    }

    fn judge(&self, crashes: &[CrashRecord], complaints: &mut Vec<String>) {
        let expected = self.expected.lock();
        for CrashRecord { path, reason } in crashes {
            if !expected.iter().any(|suffix| path_ends_with(path, suffix)) {
                complaints.push(format!("{path} crashed: {reason}"));
            }
        }
        for suffix in expected.iter() {
            if !crashes.iter().any(|crash| path_ends_with(&crash.path, suffix)) {
                complaints.push(format!("{suffix} was expected to crash, and did not"));
            }
        }
    }
}
