//! Many tasks in one call: submitted, claimed and reported, each with an answer of its own.

use fleetward_actors::fleet::task::Phase;
use fleetward_actors::plane::{Enrollment, NewSubmit, Offers, Outcome, Reported, SUBMIT_MAX};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

fn seats(name: &str, seats: u32) -> Enrollment {
    Enrollment { max_concurrent: seats, ..enrollment(name) }
}

fn keyed(payload: &str, key: &str) -> NewSubmit {
    NewSubmit { idempotency_key: Some(key.to_owned()), ..new_task(payload) }
}

fn written(Offers { tasks, delivery }: Offers) -> Vec<Taken> {
    delivery.written();
    let taken = tasks.into_iter().map(|offer| Taken {
        task: offer.task,
        attempt: offer.attempt,
        token: offer.claim_token,
        payload: String::from_utf8(offer.payload.to_vec()).unwrap(),
    });
    taken.collect()
}

fn done(taken: &Taken) -> Reported {
    Reported {
        task: taken.task,
        attempt: Some(taken.attempt),
        claim_token: Some(taken.token.clone()),
        outcome: Outcome::Completed("1".into()),
        model: None,
    }
}

#[test]
fn each_task_of_a_batch_has_its_own_answer() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let broken = NewSubmit { pool: Some(String::new()), ..new_task("broken") };
        let batch = vec![keyed("a", "k"), broken, keyed("a", "k"), keyed("b", "k"), new_task("c")];

        let answers = plane.operator.submit_many(batch).await.unwrap();

        let codes: Vec<_> = answers.iter().map(|answer| code(answer.clone())).collect();
        assert_eq!(codes, ["ok", "invalid_name", "ok", "idempotency_key_reused", "ok"]);
        let first = answers[0].clone().unwrap();
        let repeat = answers[2].clone().unwrap();
        assert_eq!((first.task, false, true), (repeat.task, first.repeated, repeat.repeated));
        let too_many = vec![new_task("x"); SUBMIT_MAX + 1];
        assert_eq!(code(plane.operator.submit_many(too_many).await), "too_many");
    });
}

#[test]
fn claim_takes_what_waits_up_to_its_limit_and_the_free_seats() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker_of(&plane.operator, seats("w", 4)).await;
        let batch = ["a", "b", "c", "d", "e", "f"].map(new_task).to_vec();
        plane.operator.submit_many(batch).await.unwrap();

        let first = written(worker.claim_many(named("1"), 3).await.unwrap().unwrap());
        let second = written(worker.claim_many(named("2"), 3).await.unwrap().unwrap());

        let payloads =
            |taken: &[Taken]| taken.iter().map(|t| t.payload.clone()).collect::<Vec<_>>();
        assert_eq!(payloads(&first), [r#""a""#, r#""b""#, r#""c""#]);
        assert_eq!(payloads(&second), [r#""d""#], "one seat was left");
        let again = written(worker.claim_many(named("1"), 3).await.unwrap().unwrap());
        assert_eq!(payloads(&again), payloads(&first), "the same name gets the same tasks");
        assert_eq!(code(worker.claim_many(named("3"), 0).await), "invalid_max_tasks");
    });
}

#[test]
fn parked_claim_is_answered_with_the_whole_batch_that_arrives() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker_of(&plane.operator, seats("w", 8)).await;
        let parked = tokio::spawn({
            let worker = worker.clone();
            async move { worker.claim_many(named("1"), 8).await.unwrap().map(written) }
        });
        world.settle().await;

        plane.operator.submit_many(["a", "b", "c"].map(new_task).to_vec()).await.unwrap();

        assert_eq!(parked.await.unwrap().expect("it is woken").len(), 3);
    });
}

#[test]
fn reports_are_judged_one_by_one_and_free_their_seats_together() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker_of(&plane.operator, seats("w", 2)).await;
        plane.operator.submit_many(["a", "b", "c", "d"].map(new_task).to_vec()).await.unwrap();
        let taken = written(worker.claim_many(named("1"), 2).await.unwrap().unwrap());
        let forged = Reported { claim_token: Some("forged".into()), ..done(&taken[1]) };

        let reports = vec![done(&taken[0]), forged, done(&taken[0]), done(&taken[1])];
        let answers = worker.report_many(reports).await.unwrap();

        let codes: Vec<_> = answers.into_iter().map(code).collect();
        assert_eq!(codes, ["ok", "bad_claim_token", "ok", "ok"]);
        for task in [taken[0].task, taken[1].task] {
            assert!(matches!(plane.phase(task).await, Phase::Completed { .. }));
        }
        assert_eq!(written(worker.claim_many(named("2"), 2).await.unwrap().unwrap()).len(), 2);
    });
}

#[test]
fn batch_whose_answer_was_lost_goes_back_whole() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker_of(&plane.operator, seats("w", 2)).await;
        plane.operator.submit_many(["a", "b"].map(new_task).to_vec()).await.unwrap();

        drop(worker.claim_many(named("1"), 2).await.unwrap().unwrap());

        let again = written(worker.claim_many(named("2"), 2).await.unwrap().unwrap());
        assert_eq!(again.iter().map(|taken| taken.attempt).collect::<Vec<_>>(), [2, 2]);
    });
}
