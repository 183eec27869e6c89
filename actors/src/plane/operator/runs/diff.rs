//! Two runs compared, from their records and the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::error::{Error, Refusal};
use crate::id::{RunId, WorkerId};
use crate::plane::operator::Operator;
use crate::workflows::conductor::{read_values, value_of};
use crate::workflows::diff::{self, Aspect, Difference, Side, Told};
use crate::workflows::plan;
use crate::workflows::run::{Place, Run};

/// Events that are read at once: a value of a megabyte may be sealed beside each.
const AT_ONCE: usize = 16;
/// Most nodes of two runs that are compared.
const NODES_MAX: usize = 4_000;
/// Bytes of values that are shown.
const SHOWN_BYTES: usize = 1 << 20;

/// Two runs side by side.
pub struct Compared {
    /// The first.
    pub a: Run,
    /// The second.
    pub b: Run,
    /// Where they differ.
    pub difference: Difference,
    /// Outputs, error texts and inputs that are not the same, by where they are; not all, where that is too much.
    pub values: BTreeMap<Place, Arc<Value>>,
}

/// What an event says of the value beside it.
#[derive(serde::Deserialize)]
struct Beside {
    digest: Option<String>,
    worker: Option<WorkerId>,
}

impl Operator {
    /// Two runs side by side. That their contents were read is on the record.
    ///
    /// # Errors
    /// When there is no such run, or they have too many nodes.
    pub async fn diff_runs(&self, a: &RunId, b: &RunId) -> Result<Compared, Error> {
        let (first, second) = (self.run_state(a).await?, self.run_state(b).await?);
        if first.done.len() + second.done.len() > NODES_MAX {
            let detail = format!("runs with more than {NODES_MAX} nodes together are not compared");
            return Err(Refusal::invalid("too_many_nodes", detail).into());
        }
        self.note_run_reads(vec![a.clone(), b.clone()]).await?;
        let (of_a, of_b) = (self.told(&first).await?, self.told(&second).await?);
        let (one, other) = (self.says(&first).await?, self.says(&second).await?);
        let difference = diff::diff(
            Side { run: &first, definition: &one, told: &of_a },
            Side { run: &second, definition: &other, told: &of_b },
        );
        let values = self.values_of(&difference, (&first, &second)).await?;
        Ok(Compared { a: first, b: second, difference, values })
    }

    async fn says(
        &self,
        run: &Run,
    ) -> Result<Arc<crate::workflows::definition::Definition>, Error> {
        Ok(self.workflow_version(&run.workflow, Some(&run.version)).await?.1)
    }

    /// What the record says of the values of a run.
    async fn told(&self, run: &Run) -> Result<BTreeMap<Place, Told>, Error> {
        let places: Vec<_> = diff::places(run).into_iter().collect();
        let mut told = BTreeMap::new();
        for some in places.chunks(AT_ONCE) {
            let at: Vec<_> = some.iter().map(|place| place.at).collect();
            let read = self.plane.shared.store.read_at(self.number(), &at).await;
            let read = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
            for place in some {
                let Ok(found) = read.binary_search_by_key(&place.at, |stored| stored.seq) else {
                    continue;
                };
                let body = &read[found].event.body;
                let beside = serde_json::from_slice::<Beside>(body).ok();
                told.extend(
                    beside
                        .map(|Beside { digest, worker }| (place.clone(), Told { digest, worker })),
                );
            }
        }
        Ok(told)
    }

    /// The values that are not the same, as far as they are to be shown.
    async fn values_of(
        &self,
        difference: &Difference,
        (a, b): (&Run, &Run),
    ) -> Result<BTreeMap<Place, Arc<Value>>, Error> {
        let mut places = Vec::new();
        if difference.same_input == Some(false) {
            places.extend([a.input.clone(), b.input.clone()]);
        }
        for pair in difference.nodes.iter().filter(|pair| pair.differs.contains(&Aspect::Output)) {
            let both = [&pair.a, &pair.b].into_iter().flatten();
            places.extend(both.filter_map(|seen| seen.place.clone()));
        }
        let (mut values, mut bytes) = (BTreeMap::new(), 0);
        for some in places.chunks(AT_ONCE) {
            if bytes >= SHOWN_BYTES {
                break;
            }
            let store = self.plane.shared.store.as_ref();
            let some = some.iter().cloned().collect();
            let read = read_values(store, self.number(), &self.known, some).await;
            let read = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
            for (place, opened) in read {
                let opened: Option<Bytes> = opened.ok();
                bytes += opened.as_ref().map_or(0, Bytes::len);
                if let Some(opened) = opened.filter(|_| bytes <= SHOWN_BYTES) {
                    let value = value_of(&opened, plan::is_text(&place));
                    values.insert(place, value);
                }
            }
        }
        Ok(values)
    }
}
