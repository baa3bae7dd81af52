//! The worlds that are searched: in each, the parents have two children at most, and others do what can do harm there.

use bartizan_contract::{OnImmutableChange, ReconcileResponse};
use bartizan_engine::snapshot::Left;
use rstest::rstest;
use serde_json::json;

use super::cluster::Cluster;
use super::explore;
use super::steps::Deed;
use crate::world::{DesiredChild, PROVIDER, SUCCESSOR, State, response};

fn child(content: u8, wave: u32, retain: bool) -> Option<DesiredChild> {
    Some(DesiredChild { content, wave, retain })
}

fn ours(content: u8) -> State {
    State::Ours((content, 0, false))
}

/// Two children of these contents, in one wave.
fn both(first: u8, second: u8) -> ReconcileResponse {
    response(&[child(first, 0, false), child(second, 0, false)], &[])
}

/// The first child alone.
fn first(content: u8) -> ReconcileResponse {
    response(&[child(content, 0, false), None], &[])
}

#[test]
fn creation_survives_every_fault() -> Result<(), String> {
    // The wave of the first child comes last.
    let answer = response(&[child(1, 1, false), child(1, 0, false)], &[]);
    let other = response(&[child(1, 1, false), child(2, 0, false)], &[]);
    explore("creation", &Cluster::new([State::Absent; 2], [answer, other], &[Deed::ChangeAnswer]))
}

#[test]
fn a_prune_beside_an_edit_a_removal_and_a_stranger_loses_nothing() -> Result<(), String> {
    let deeds = [Deed::ChangeAnswer, Deed::Edit(1), Deed::Remove(0), Deed::Take(0)];
    explore("prune", &Cluster::new([ours(1), ours(1)], [both(1, 1), first(1)], &deeds))
}

#[test]
fn an_orphaned_parent_leaves_its_children_whatever_is_seen_when() -> Result<(), String> {
    let deeds = [Deed::Orphan, Deed::Collect(0), Deed::Collect(1), Deed::ChangeAnswer];
    explore("orphans", &Cluster::new([ours(1), ours(1)], [both(1, 1), first(2)], &deeds))
}

#[test]
fn an_orphan_that_is_seen_before_its_parents_deletion_stays_one() -> Result<(), String> {
    let deeds = [Deed::Orphan, Deed::Collect(0), Deed::ChangeAnswer];
    explore("orphan", &Cluster::new([ours(1), State::Absent], [first(1), first(2)], &deeds))
}

#[test]
fn a_retained_child_is_adopted_once_and_a_stripped_one_comes_back() -> Result<(), String> {
    let states = [State::Retained((1, 0, true)), State::Stripped((1, 0, false))];
    let answers = [
        response(&[child(1, 0, true), child(1, 0, false)], &[]),
        response(&[child(3, 0, true), child(2, 0, false)], &[]),
    ];
    explore("adoption", &Cluster::new(states, answers, &[Deed::ChangeAnswer, Deed::Edit(0)]))
}

#[test]
fn two_hosts_at_once_do_no_harm() -> Result<(), String> {
    let mut cluster =
        Cluster::new([ours(1), State::Absent], [both(1, 1), first(2)], &[Deed::ChangeAnswer, Deed::Edit(0)]);
    cluster.add(PROVIDER);
    explore("two hosts", &cluster.treasuring(0))
}

#[test]
fn two_hosts_with_two_versions_do_no_harm() -> Result<(), String> {
    let mut cluster = Cluster::new([ours(1), ours(1)], [both(1, 1), both(2, 2)], &[Deed::Upgrade(1), Deed::Remove(1)]);
    cluster.add(PROVIDER);
    explore("two versions", &cluster.treasuring(0))
}

#[test]
fn an_upgrade_that_prunes_waits_for_what_it_keeps() -> Result<(), String> {
    let deeds = [Deed::Upgrade(0), Deed::Remove(0), Deed::Edit(0)];
    explore("upgrade", &Cluster::new([ours(1), ours(1)], [both(1, 1), first(2)], &deeds))
}

#[test]
fn a_hand_over_deletes_nothing_whoever_learns_of_it_first() -> Result<(), String> {
    let deeds = [Deed::HandOver(0), Deed::HandOver(1), Deed::Edit(1)];
    let mut cluster = Cluster::new([ours(1), ours(1)], [both(1, 1), both(1, 1)], &deeds);
    cluster.add(SUCCESSOR);
    let successor = Left { successor: Some(PROVIDER.to_owned()) };
    cluster.sites[1].host.left = Some(successor);
    explore("hand-over", &cluster.treasuring(0).treasuring(1))
}

#[test]
fn a_deletion_keeps_what_is_retained() -> Result<(), String> {
    let states = [State::Ours((1, 0, true)), ours(1)];
    let answer = || response(&[child(1, 0, true), child(1, 0, false)], &[]);
    let deeds = [Deed::Delete, Deed::Edit(1), Deed::Remove(1)];
    explore("deletion", &Cluster::new(states, [answer(), answer()], &deeds).finalizing().treasuring(0))
}

#[test]
fn a_foreground_deletion_ends() -> Result<(), String> {
    let deeds = [Deed::DeleteForeground, Deed::Edit(1), Deed::ChangeAnswer];
    explore("foreground", &Cluster::new([ours(1), ours(1)], [both(1, 1), first(2)], &deeds))
}

#[test]
fn two_parents_never_share_a_child() -> Result<(), String> {
    let cluster = Cluster::new([ours(1), State::Absent], [both(1, 1), both(1, 1)], &[Deed::Edit(0)]);
    explore("two parents", &cluster.with_two_parents().treasuring(0))
}

#[test]
fn nothing_is_recreated_that_a_quota_would_keep_out() -> Result<(), String> {
    let recreated = |content| {
        let mut answer = both(content, 1);
        answer.children[0].object["immutable"] = true.into();
        answer.children[0].on_immutable_change = OnImmutableChange::Recreate;
        answer
    };
    let mut cluster =
        Cluster::new([State::Absent, ours(1)], [recreated(1), recreated(2)], &[Deed::ChangeAnswer, Deed::LiftQuota]);
    cluster.server.quota = Some(2);
    explore("quota", &cluster)
}

#[test]
fn what_the_api_server_makes_of_a_child_is_written_once() -> Result<(), String> {
    let pruned = |content| {
        let mut answer = both(content, 1);
        answer.children[0].object["data"]["pruned"] = json!("x");
        answer
    };
    let mut cluster =
        Cluster::new([State::Absent, ours(1)], [pruned(1), pruned(2)], &[Deed::ChangeAnswer, Deed::Edit(0)]);
    cluster.server.mutates = true;
    explore("schema", &cluster)
}

/// Two children, the second of which is a wave later.
fn waves(content: u8) -> ReconcileResponse {
    response(&[child(content, 0, false), child(content, 1, false)], &[])
}

#[test]
fn a_prune_goes_from_the_last_wave_to_the_first() -> Result<(), String> {
    let (states, nothing) = ([ours(1), State::Ours((1, 1, false))], response(&[None, None], &[]));
    explore("pruned waves", &Cluster::new(states, [waves(1), nothing], &[Deed::ChangeAnswer, Deed::Edit(1)]))
}

#[test]
fn a_teardown_goes_from_the_last_wave_to_the_first() -> Result<(), String> {
    let states = [ours(1), State::Ours((1, 1, false))];
    let deeds = [Deed::Delete, Deed::Edit(1), Deed::ChangeAnswer];
    explore("teardown", &Cluster::new(states, [waves(1), waves(2)], &deeds).finalizing())
}

#[rstest]
#[case::wave("waiting wave", State::Absent, waves(1))]
#[case::prune("waiting prune", ours(1), both(1, 1))]
fn a_later_wave_and_a_prune_wait_for_what_is_being_deleted(
    #[case] name: &str,
    #[case] second: State,
    #[case] answer: ReconcileResponse,
) -> Result<(), String> {
    let states = [State::Deleting((1, 0, false)), second];
    explore(name, &Cluster::new(states, [answer, first(2)], &[Deed::ChangeAnswer, Deed::Edit(1)]))
}

/// What has no label of this host is found when it is to be created; what has, before.
#[rstest]
#[case::foreign("taken", State::Foreign((1, 0, false)))]
#[case::forged("taken by a forged one", State::Forged((1, 0, false)))]
fn nothing_is_pruned_while_a_name_is_taken(#[case] name: &str, #[case] strange: State) -> Result<(), String> {
    let answers = [response(&[None, child(1, 0, false)], &[]), first(1)];
    explore(name, &Cluster::new([strange, ours(1)], answers, &[Deed::ChangeAnswer]).treasuring(1))
}

#[test]
fn a_hold_writes_nothing() -> Result<(), String> {
    let hold = ReconcileResponse { hold: true, ..first(2) };
    let cluster = Cluster::new([ours(1), ours(1)], [both(1, 1), hold], &[Deed::ChangeAnswer]);
    explore("hold", &cluster.treasuring(0).treasuring(1))
}

#[test]
fn what_is_kept_is_not_pruned() -> Result<(), String> {
    let kept = response(&[child(2, 0, false), None], &[1]);
    let deeds = [Deed::ChangeAnswer, Deed::Edit(0)];
    explore("kept", &Cluster::new([ours(1), ours(1)], [both(1, 1), kept], &deeds).treasuring(1))
}

#[rstest]
#[case::unasked("finalized unasked", ReconcileResponse { finalized: true, ..response(&[None, None], &[]) })]
#[case::ungranted("namespace", at("namespace", "m"))]
#[case::no_name("name", at("name", "a b"))]
fn an_answer_that_is_refused_writes_nothing(
    #[case] name: &str,
    #[case] refused: ReconcileResponse,
) -> Result<(), String> {
    let cluster = Cluster::new([ours(1), ours(1)], [both(1, 1), refused], &[Deed::ChangeAnswer]);
    explore(name, &cluster.treasuring(0).treasuring(1))
}

/// An answer whose second child is somewhere else.
fn at(field: &str, value: &str) -> ReconcileResponse {
    let mut answer = both(2, 2);
    answer.children[1].object["metadata"][field] = value.into();
    answer
}

#[rstest]
#[case::forged("forged", State::Forged((1, 0, false)))]
#[case::foreign("foreign", State::Foreign((1, 0, false)))]
#[case::controlled("controlled", State::Controlled((1, 0, false)))]
#[case::others("others", State::Others((1, 0, false)))]
#[case::given("given", State::Given((1, 0, false), false))]
#[case::given_with_owner("given with owner", State::Given((1, 0, false), true))]
fn what_is_not_its_own_is_never_deleted(#[case] name: &str, #[case] strange: State) -> Result<(), String> {
    let deeds = [Deed::ChangeAnswer, Deed::Edit(0)];
    explore(name, &Cluster::new([ours(1), strange], [first(1), both(2, 1)], &deeds).treasuring(1))
}

#[test]
fn nothing_is_adopted_from_a_parent_that_lives() -> Result<(), String> {
    let states = [State::Others((1, 0, false)), State::Absent];
    let cluster = Cluster::new(states, [first(1), first(2)], &[Deed::OrphanSecond, Deed::ChangeAnswer]);
    explore("adoption from", &cluster.with_two_parents().adopting_from_second().treasuring(0))
}

#[test]
fn what_was_restored_without_managed_fields_is_adopted_whatever_fails() -> Result<(), String> {
    let states = [State::Restored((1, 0, false)), State::Absent];
    let cluster = Cluster::new(states, [first(1), first(2)], &[Deed::ChangeAnswer]);
    explore("restored", &cluster.adopting_from_second().treasuring(0))
}

#[test]
fn a_parent_stays_as_long_as_a_child_cannot_be_deleted() -> Result<(), String> {
    let cluster = Cluster::new([ours(1), State::Absent], [first(1), first(1)], &[Deed::Delete]);
    explore("last child", &cluster.finalizing())
}
