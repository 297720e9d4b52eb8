//! How a link ends: settled, or in review; and what a person has decided about it.

use super::{Item, Step};
use crate::change::{End, Ends};
use crate::config::Rule;
use crate::error::SyncError;
use crate::pipeline::Done;
use crate::pipeline::binding::Binding;
use crate::pipeline::reconcile::{Answer, Contest, Intent, Subject};
use crate::pipeline::transform::Rejection;
use crate::state::{Finding, ReviewKind, Ruling, Verdict, Winner};

/// Why a decision is stale.
pub(in crate::pipeline) const MOVED_ON: &str = "the record has changed since it was looked at";

impl Item {
    /// Puts a refused record in review, or one that waits for a person; true if it was.
    pub(in crate::pipeline) fn reject(&mut self, binding: &Binding, done: &mut Done) -> bool {
        let finding = match self.decision.rejection.take() {
            Some((end, rejection)) if rejection.skipped => {
                if let Some(key) = self.keys.get(end).clone() {
                    done.skip(end, key);
                }
                self.keep_link(done);
                self.finish(None, done);
                return true;
            }
            Some((end, rejection)) => {
                let kind = rejection.kind();
                let Rejection { code, message, field, digest, waits_for, .. } = *rejection;
                let found = self.found(end, kind, &code, message);
                let waits_for = waits_for.map(|parent| *parent);
                found.map(|found| Finding { field, digest, waits_for, ..found })
            }
            None if self.decision.open.is_empty() && self.decision.manual.is_empty() => return false,
            None => self.undecided(binding),
        };
        self.file(finding, done);
        true
    }

    /// What is said about a record of `end` that cannot go on; `None` where it has no key, which cannot be.
    pub(super) fn found(&self, end: End, kind: ReviewKind, code: &str, message: impl Into<String>) -> Option<Finding> {
        let key = self.keys.get(end).clone()?;
        Some(Finding {
            other: self.keys.get(end.other()).clone(),
            now: Ends::from_fn(|end| self.image(end).cloned()),
            base: self.base.clone(),
            ..Finding::new(end, key, kind, code, message)
        })
    }

    /// What has reached a side is agreed even where the rest of the record is refused afterwards: else a record that was created would be
    /// created once more, and one that a system has normalised would be written again and again.
    fn keep_link(&self, done: &mut Done) {
        let marked = self.stored.as_ref().is_some_and(|link| link.gone.is_some());
        if self.wrote && self.base.is_some() && !marked {
            done.commit.links.extend(self.link());
        }
    }

    fn file(&mut self, finding: Option<Finding>, done: &mut Done) {
        // What a person decided in vain stays the same review.
        let turned = self.ruling.is_some().then_some(self.origin);
        self.keep_link(done);
        self.finish(Some(finding.as_ref().map_or("it cannot be found any more", |finding| &finding.message)), done);
        if let Some(finding) = finding {
            done.file(match (turned, finding.other.clone()) {
                (Some(end), Some(key)) if end != finding.end => {
                    Finding { end, other: Some(finding.key.clone()), key, ..finding }
                }
                _ => finding,
            });
        }
    }

    /// Whether the decision deletes the record of `end`, or marks it as deleted.
    pub(in crate::pipeline) fn deletes(&self, end: End) -> bool {
        self.decision.deletes == Some(end)
    }

    /// Whether the decision sets fields of `end`.
    pub(in crate::pipeline) fn updates(&self, end: End) -> bool {
        matches!(self.decision.writes.get(end), Some(Intent::Update(_)))
    }

    /// Whether a person said whose record counts.
    pub(in crate::pipeline) fn is_ruled(&self) -> bool {
        self.ruling.as_ref().is_some_and(|(_, ruling)| ruling.take.is_some())
    }

    /// Whether a person has decided anything about it, be it another try.
    pub(in crate::pipeline) fn is_decided(&self) -> bool {
        self.ruling.is_some()
    }

    /// Puts it aside before it is written.
    pub(in crate::pipeline) fn hold(
        &mut self,
        end: End,
        kind: ReviewKind,
        (code, message): (&str, String),
        done: &mut Done,
    ) {
        let finding = self.found(end, kind, code, message);
        self.file(finding, done);
    }

    /// It has left the filter: nothing is done about it.
    pub(in crate::pipeline) fn leave(&mut self, done: &mut Done) {
        done.commit.counts.skipped += 1;
        self.finish(None, done);
    }

    /// The rollout does not let it through yet.
    pub(in crate::pipeline) fn hold_back(&mut self, done: &mut Done) {
        self.finish(None, done);
        done.hold_back(
            [End::Source, End::Target].into_iter().filter_map(|end| Some((end, self.keys.get(end).clone()?))),
        );
    }

    /// What it matches cannot be said.
    pub(in crate::pipeline) fn puzzle(&mut self, code: &str, message: String, done: &mut Done) {
        let finding = self.found(self.origin, ReviewKind::Ambiguous, code, message);
        self.file(finding, done);
    }

    /// A contested field that a resolver has left to a person, or the policy has. Both sides' changes come to this: one review, whichever
    /// is seen first.
    fn undecided(&self, binding: &Binding) -> Option<Finding> {
        let asked = self.decision.open.first().map(|(_, resolver)| resolver);
        let said =
            asked.and_then(|asked| self.resolvers.iter().find(|(place, _)| place == asked)).map(|(_, said)| said);
        let reason = said.map(|said| said.reason.as_str()).filter(|reason| !reason.is_empty());
        let (code, text) = match (asked, reason) {
            (Some(_), reason) => ("conflict.review", reason.unwrap_or("the resolver did not settle it")),
            (None, _) => ("conflict.manual", "both sides have changed it"),
        };
        let name = |place: &usize| binding.mappings.get(*place).map(|mapping| mapping.fields.target.name.clone());
        let by_person = self.decision.manual.iter().filter_map(|subject| match subject {
            Subject::Field(place) => name(place),
            Subject::Group(_) => {
                self.settled(binding, Contest { subject: *subject, winner: Winner::Base, rule: Rule::Manual }).field
            }
            Subject::Record => None,
        });
        let contested: Vec<String> =
            self.decision.open.iter().filter_map(|(place, _)| name(place)).chain(by_person).collect();
        let end = if self.keys.source.is_some() { End::Source } else { End::Target };
        let message = format!("a conflict waits for a person: {text}");
        let found = self.found(end, ReviewKind::Conflict, code, message)?;
        Some(Finding { digest: said.and_then(|said| said.digest.clone()), contested, ..found })
    }

    /// A system refused the record that comes from `from`.
    pub(in crate::pipeline) fn fail(&mut self, from: End, error: &SyncError, done: &mut Done) {
        let end = if self.keys.get(from).is_some() { from } else { from.other() };
        let finding = self.found(end, refusal(error.code), error.code, error.message.clone());
        self.file(finding, done);
    }

    /// What was written stays on record, however the item ends (I6). `refused`: why it goes to review.
    pub(in crate::pipeline) fn finish(&mut self, refused: Option<&str>, done: &mut Done) {
        self.step = Step::Closed;
        done.commit.counts.warnings += self.warned;
        done.commit.counts.conflicts += self.conflicts.len() as u64;
        done.commit.settled.extend(self.conflicts.drain(..).filter_map(|settled| settled.id));
        done.commit.void.append(&mut self.void);
        done.commit.void.extend(self.settled.drain(..).filter_map(|settled| settled.id));
        if let Some((id, _)) = self.ruling.take() {
            let verdict = if refused.is_some() { Verdict::Refused } else { Verdict::Applied };
            done.commit.decided.push((id, verdict, refused.unwrap_or_default().to_owned()));
        }
    }

    /// Lets the record of an end win wherever both differ: nothing counts as agreed about records that are both there.
    pub(in crate::pipeline) fn prefer(&mut self, binding: &Binding, winner: End) {
        self.preferred = Some(winner);
        if self.base.is_some() && self.image(End::Source).is_some() && self.image(End::Target).is_some() {
            self.base = Some(Ends::from_fn(|end| binding.nothing_agreed(end, self.keys.get(end).as_ref())));
        }
    }

    /// Takes what a person wants.
    pub(in crate::pipeline) fn rule(&mut self, decision: i64, ruling: Ruling) {
        self.ruling = Some((decision, ruling));
    }

    /// Somebody wrote in between: what a person said was about other images. Another try is about whatever there is.
    pub(in crate::pipeline) fn overtake(&mut self, done: &mut Done) {
        if let Some((id, _)) = self.ruling.take_if(|(_, ruling)| !ruling.is_retry()) {
            done.commit.decided.push((id, Verdict::Stale, MOVED_ON.to_owned()));
        }
    }

    /// Values of the person's own that are not taken up yet.
    pub(in crate::pipeline) fn set_values(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        let (_, ruling) = self.ruling.as_ref().filter(|(_, ruling)| !ruling.set.is_empty())?;
        let taken_up = self.answers.iter().any(|(_, answer)| answer.person);
        (!taken_up).then(|| ruling.set.clone())
    }

    /// What a person said about fields.
    pub(in crate::pipeline) fn answer_by_person(&mut self, answers: Vec<(usize, Answer)>) {
        self.answers.extend(answers);
    }

    /// What the person wants cannot be done; the record is decided as if nothing had been said.
    pub(in crate::pipeline) fn decline(&mut self, why: String, done: &mut Done) {
        if let Some((id, _)) = self.ruling.take() {
            done.commit.decided.push((id, Verdict::Refused, why));
        }
    }
}

/// What kind of refusal a system's code is.
pub(in crate::pipeline) fn refusal(code: &str) -> ReviewKind {
    if code == "record.unique_conflict" { ReviewKind::UniqueViolation } else { ReviewKind::Failed }
}
