//! A run held against its own definition and others.

use super::*;

#[test]
fn replay_says_where_a_run_and_another_definition_part_and_changes_nothing() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(ARTICLE).await;
        let hand = plane.hand("h").await;
        let run = plane.begin("article", "a1", json!("ants")).await;
        work(&hand, echo).await;
        let before = plane.run(&run).await;
        let told = async |against: Against, to: Option<u64>| {
            let replayed = plane.operator.replay_run(&run, against, to).await.unwrap();
            let told = replayed.diverged.iter().map(|one| one.detail.clone());
            (told.collect::<Vec<_>>(), replayed)
        };
        let changed = |from: &str, to: &str| {
            let definition = document::parse(&ARTICLE.replace(from, to)).unwrap();
            Against::Definition(Box::new(definition))
        };

        let (parts, all) = told(Against::Kept, None).await;
        assert!(parts.is_empty() && all.fits() && all.next.is_empty(), "{parts:?}");
        let values: Vec<_> = all.values.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(values, ["input", "draft", "research"]);
        assert_eq!(*all.values[0].value.clone().unwrap(), json!("ants"));
        let (parts, behind) = told(changed("step: publish", "step: print"), None).await;
        assert!(parts.is_empty(), "the run has not come to that: {parts:?}");
        assert_ne!(behind.version, before.version);
        let expected = "step draft became a task; it was to be given another input";
        let other = changed("\"topic\": input", "\"topic\": 1");
        assert_eq!(told(other, None).await.0, [expected]);
        let expected =
            "people were asked at review; people were to be asked or shown something else";
        assert_eq!(told(changed("Publish ", "Print "), None).await.0, [expected]);
        let expected = "people were asked at review; the definition asks for signal review";
        let other = changed(
            "approval: review\n    prompt: '\"Publish \" + previous + \"?\"'\n    approvers: {requester_may_approve: true}",
            "wait_signal: review",
        );
        let (parts, _) = told(other, None).await;
        assert_eq!(parts.first().map(String::as_str), Some(expected), "{parts:?}");

        let (_, began) = told(Against::Kept, Some(before.started)).await;
        assert_eq!((began.events, began.run.done.len()), (1, 0));
        assert_eq!(began.next[0].words(), "step research");
        let early = plane.operator.replay_run(&run, Against::Kept, Some(1)).await;
        assert_eq!(code(early.map(|_| ())), "before_its_start");
        let other =
            Against::Definition(Box::new(document::parse("name: b\nsteps: [{step: s}]").unwrap()));
        let other = plane.operator.replay_run(&run, other, None).await;
        assert_eq!(code(other.map(|_| ())), "another_workflow");
        assert_eq!(plane.run(&run).await, before);
    });
}
