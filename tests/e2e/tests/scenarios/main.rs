//! What Bartizan must do on a real cluster: each scenario is named as the sentence that it proves, one file per
//! topic. All are in one test binary, so that they run in parallel, since most of their time is waiting. To run one
//! topic alone: `cargo test -p bartizan-e2e repair::`.

mod adoption;
mod bounds;
mod breaker;
mod cassandra;
mod catalog;
mod cluster;
mod deletion;
mod deploy;
mod depth;
mod faults;
mod fields;
mod folder;
mod former_kinds;
mod grants;
mod handover;
mod isolation;
mod keys;
mod languages;
mod leases;
mod model;
mod observe;
mod operators;
mod order;
mod ownership;
mod provider_crd;
mod providers;
mod quiet;
mod races;
mod registry;
mod related;
mod reload;
mod removal;
mod repair;
mod restart;
mod restored;
mod rights;
mod samples;
mod settings;
mod startup;
mod statuses;
mod upgrades;
mod validation;
mod versions;
mod waves;
