//! The schema of each backend as a list of steps, oldest first. A step that was released is never
//! changed; a change is a new step.

/// One step of a schema, applied in a transaction together with the note that it was.
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

pub(crate) const SQLITE: &[Migration] = &[Migration {
    version: 1,
    name: "first",
    sql: include_str!("../migrations/sqlite/0001_first.sql"),
}];

pub(crate) const POSTGRES: &[Migration] = &[Migration {
    version: 1,
    name: "first",
    sql: include_str!("../migrations/postgres/0001_first.sql"),
}];

/// The newest version in a list.
pub(crate) fn newest(migrations: &[Migration]) -> i64 {
    migrations.last().map_or(0, |migration| migration.version)
}

/// The steps that a schema at `version` still needs.
pub(crate) fn missing(
    migrations: &'static [Migration],
    version: i64,
) -> impl Iterator<Item = &'static Migration> {
    migrations.iter().filter(move |migration| migration.version > version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_from_one() {
        for migrations in [SQLITE, POSTGRES] {
            let versions: Vec<i64> = migrations.iter().map(|step| step.version).collect();

            assert_eq!(versions, (1..=migrations.len() as i64).collect::<Vec<_>>());
        }
    }
}
