//! One suite for all backends. A case is a function of a world; each runs on every backend.

mod fencing;
mod reading;
mod records;
mod sealing;
mod writing;

/// Makes a test of each case for each backend. `pooled` is PostgreSQL without prepared statements.
macro_rules! on_every_backend {
    ($($case:ident),* $(,)?) => {
        on_every_backend! { @ memory: $($case),* }
        on_every_backend! { @ sqlite: $($case),* }
        on_every_backend! { @ postgres: $($case),* }
        on_every_backend! { @ pooled: $($case),* }
    };
    (@ $backend:ident: $($case:ident),*) => {
        mod $backend {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(crate::world::World::$backend().await).await;
                }
            )*
        }
    };
}
use on_every_backend;
