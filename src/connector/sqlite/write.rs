//! A batch of guarded writes (layer 4): one `IMMEDIATE` transaction. A statement that fails undoes itself only, so the other records
//! of the batch are not touched by a bad one.

use super::Opened;
use super::errors::{Class, class};
use super::guarded::{outcome, statement};
use super::marks;
use super::statement::Statement;
use super::writing::{Attempt, Refused, Writing};
use crate::connector::{Mark, Write, WriteOutcome};
use crate::error::{ErrorKind, Result};
use crate::record::Key;

/// So many writes of the same form go to the connection's thread at once: handing over costs more than most statements.
const GROUP: usize = 16;

/// Writes a batch; see [`crate::connector::Target::write`].
pub(super) async fn write(opened: &Opened, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    match write_all(opened, writes, mark).await {
        // There is nothing to halve.
        Err(error) if error.kind == ErrorKind::InvalidRecord && writes.len() == 1 => {
            Ok(vec![WriteOutcome::Failed(error)])
        }
        outcomes => outcomes,
    }
}

async fn write_all(opened: &Opened, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
    let mut writing = Writing::begin(opened).await?;
    let mut outcomes = Vec::with_capacity(writes.len());
    let mut rest = writes;
    while !rest.is_empty() {
        let group = rest.get(..GROUP).unwrap_or_default();
        let (done, others) = match together(&mut writing, group).await? {
            Some(done) => (done, rest.get(GROUP..).unwrap_or_default()),
            None => {
                let (few, others) = rest.split_at(GROUP.min(rest.len()));
                let mut done = Vec::with_capacity(few.len());
                for write in few {
                    done.push(one(&mut writing, write).await?);
                }
                (done, others)
            }
        };
        outcomes.extend(done);
        rest = others;
    }
    if writing.others_triggers {
        read_again(&mut writing, &mut outcomes).await.map_err(|refused| match refused {
            Refused::Unfit(error) => error,
            Refused::Sql(error) => opened.place().failed("reading what was written")(error),
        })?;
    }
    if let Some(mark) = mark {
        let kept = marks::keep(writing.connection(), opened, mark, (writes, &outcomes)).await;
        kept.map_err(opened.place().failed("keeping what became of writes"))?;
    }
    writing.commit().await?;
    Ok(outcomes)
}

/// Writes a group in one go; `None`, with nothing done, where its writes differ in form or one of them met something unexpected.
async fn together(writing: &mut Writing<'_>, group: &[Write]) -> Result<Option<Vec<WriteOutcome>>> {
    let opened = writing.opened;
    let Some(statements) = alike(opened, group) else { return Ok(None) };
    let mut all = Writing::savepoint();
    for statement in statements {
        all.append(statement);
    }
    let outcomes = match all.rows(writing.connection()).await {
        // One row each: every guard held, nothing was in the way.
        Ok(rows) if rows.len() == group.len() => {
            group.iter().zip(&rows).map(|(write, row)| outcome(opened, write, row)).collect::<Attempt<Vec<_>>>()
        }
        Ok(_) => Ok(Vec::new()),
        Err(error) => Err(Refused::Sql(error)),
    };
    match outcomes {
        Ok(outcomes) if !outcomes.is_empty() => Ok(Some(outcomes)),
        Err(Refused::Sql(error)) if class(&error) != Class::Data => Err(opened.place().failed("writing")(error)),
        // Each for itself, then.
        _ if writing.undo().await => Ok(None),
        Err(Refused::Sql(error)) => Err(opened.place().refused("writing", None, &error)),
        Ok(_) | Err(Refused::Unfit(_)) => Err(opened.place().failed("undoing a group")(sqlx::Error::BeginFailed)),
    }
}

/// The statements of a whole group of one form.
fn alike(opened: &Opened, group: &[Write]) -> Option<Vec<Statement>> {
    let statements = group.iter().map(|write| statement(opened, write).ok().flatten()).collect::<Option<Vec<_>>>()?;
    let first = statements.first()?;
    statements.iter().all(|statement| statement.is_like(first)).then_some(statements)
}

async fn one(writing: &mut Writing<'_>, write: &Write) -> Result<WriteOutcome> {
    let opened = writing.opened;
    let (doing, key) = match write {
        Write::Create { .. } => ("creating", None),
        Write::Update { key, .. } => ("updating", Some(key)),
        Write::Delete { key, .. } => ("deleting", Some(key)),
    };
    match writing.attempt(write).await {
        Ok(outcome) => Ok(outcome),
        Err(Refused::Unfit(error)) => Ok(WriteOutcome::Failed(error)),
        Err(Refused::Sql(error)) if class(&error) == Class::Data => {
            let refusal = opened.place().refused(doing, key, &error);
            if writing.alive().await { Ok(WriteOutcome::Failed(refusal)) } else { Err(refusal) }
        }
        Err(Refused::Sql(error)) => Err(opened.place().failed(doing)(error)),
    }
}

/// `RETURNING` shows a record as it was before AFTER triggers: reads again what was written.
async fn read_again(writing: &mut Writing<'_>, outcomes: &mut [WriteOutcome]) -> Attempt<()> {
    let mut slots = Vec::new();
    for outcome in outcomes {
        if let WriteOutcome::Applied { key, stored } = outcome
            && stored.is_some()
        {
            slots.push((key.clone(), stored));
        }
    }
    let keys: Vec<Key> = slots.iter().map(|(key, _)| key.clone()).collect();
    for ((_, stored), now) in slots.into_iter().zip(writing.read(&keys).await?) {
        *stored = now;
    }
    Ok(())
}
