//! What one step in the life of a Provider sees beside that Provider, and where it leaves what is to be done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_contract::provider::Provider;

use super::claims::Claim;
use super::event::{Effect, Now, RunId};
use super::version::Version;

/// Time until what failed is tried again.
pub const RETRY: Duration = Duration::from_secs(5);

/// The surroundings of one step.
#[derive(Debug)]
pub struct Context<'a> {
    /// The moment.
    pub now: &'a Now,
    /// What each Provider claims.
    pub claims: &'a Arc<[Claim]>,
    /// Runs that were begun.
    pub runs: &'a mut u64,
    /// What is to be done.
    pub effects: &'a mut Vec<Effect>,
    /// When something is tried again that no event announces.
    pub retry_at: &'a mut Option<Instant>,
}

impl Context<'_> {
    /// Something failed that is to be tried again.
    pub fn retry(&mut self) {
        self.retry_at(self.now.instant + RETRY);
    }

    /// Something is to be looked at again at this time.
    pub fn retry_at(&mut self, at: Instant) {
        *self.retry_at = Some(self.retry_at.map_or(at, |other| other.min(at)));
    }

    /// A run that is new.
    pub fn new_run(&mut self) -> RunId {
        *self.runs += 1;
        RunId(*self.runs)
    }

    /// What each Provider claims, as a controller of this version starts with: its own claim is that of its version.
    #[must_use]
    pub fn claims_for(&self, provider: &Provider, version: &Version) -> Arc<[Claim]> {
        let name = &provider.metadata.name;
        let others = self.claims.iter().filter(|claim| claim.provider() != name).cloned();
        others.chain(Claim::new(provider, &version.module.owned()).ok()).collect()
    }

    /// Has something done.
    pub fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}
