//! What the agent's core must do, told as scripts; see `scenario.rs` for their words.

use super::scenario::play;

#[test]
fn fires_a_planned_run_at_its_instant_and_reports_it_until_acknowledged() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 skip 10   => confirm 1
         9.999 wait
         10    wait              => start r1
         10.01 keeper started r1 => report r1 started
         11    keeper ended r1   => report r1 succeeded: exit 0
         12    link down
         13    link up           => state ended r1; report r1 succeeded: exit 0
         14    ack               => forget r1
         15    link down
         16    link up           => state",
    );
}

#[test]
fn output_is_followed_from_the_start_by_who_asked_before_it() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 skip 10   => confirm 1
         2     follow r1
         10    wait              => start r1; read r1
         10.01 keeper started r1 => report r1 started",
    );
}

#[test]
fn a_plan_is_confirmed_and_fires_only_when_it_is_on_disk() {
    play(
        "0   keeper ready
         0   link up         => state
         1   disk slow
         1   plan r1 skip 2
         2   wait
         3   disk fast       => confirm 1; start r1",
    );
}

#[test]
fn a_run_that_cannot_be_recorded_is_refused_and_never_started() {
    play(
        "0   keeper ready
         0   link up         => state
         1   disk full
         1   plan r1 skip 10 => warn could not write to the journal: no space
         1.5 disk fast
         2   wait            => confirm 1 refused r1 (the agent's journal cannot be written: no space)
         12  wait",
    );
}

#[test]
fn skip_skips_a_run_while_the_last_one_is_active() {
    play(
        "0    keeper ready
         0    link up           => state
         1    plan r1 skip 10   => confirm 1
         1    plan r2 skip 20   => confirm 2
         1    plan r3 skip 30   => confirm 3
         10   wait              => start r1
         10   keeper started r1 => report r1 started
         15   keeper retries r1 => report r1 retries
         20   wait              => report r2 skipped: overlap with run r1
         25   keeper ended r1   => report r1 succeeded: exit 0
         30   wait              => start r3",
    );
}

#[test]
fn queue_lets_one_wait_and_skips_further_ones() {
    play(
        "0    keeper ready
         0    link up           => state
         1    plan r1 queue 10  => confirm 1
         1    plan r2 queue 20  => confirm 2
         1    plan r3 queue 30  => confirm 3
         10   wait              => start r1
         10   keeper started r1 => report r1 started
         20   wait
         30   wait              => report r3 skipped: queue full: run r2 waits
         300  keeper ended r1   => start r2; report r1 succeeded: exit 0",
    );
}

#[test]
fn a_queued_run_survives_the_agent_and_waits_on() {
    play(
        "0    keeper ready
         0    link up                 => state
         1    plan r1 queue 10        => confirm 1
         1    plan r2 queue 11        => confirm 2
         10   wait                    => start r1
         10   keeper started r1       => report r1 started
         12   crash
         13   keeper up
         13   keeper knows r1 running
         13   keeper set end
         200  keeper ended r1         => start r2",
    );
}

#[test]
fn replace_stops_the_active_run_and_of_several_waiting_keeps_the_newest() {
    play(
        "0    keeper ready
         0    link up            => state
         1    plan r1 replace 10 => confirm 1
         1    plan r2 replace 20 => confirm 2
         1    plan r3 replace 21 => confirm 3
         10   wait               => start r1
         10   keeper started r1  => report r1 started
         20   wait               => start r2 replacing r1
         21   wait               => start r3 replacing r2",
    );
}

#[test]
fn allow_lets_both_run() {
    play(
        "0    keeper ready
         0    link up           => state
         1    plan r1 allow 10  => confirm 1
         1    plan r2 allow 20  => confirm 2
         10   wait              => start r1
         10   keeper started r1 => report r1 started
         20   wait              => start r2",
    );
}

#[test]
fn a_run_due_while_the_agent_was_down_starts_late_if_it_may() {
    play(
        "0    keeper ready
         0    link up                  => state
         1    plan r1 skip 10          => confirm 1
         1    plan r2 allow 10 before 12 => confirm 2
         2    dies
         15   starts
         15   keeper ready
         15   link up                  => state armed r1 ended r2; start r1; report r2 missed: agent was down",
    );
}

#[test]
fn of_several_overdue_runs_only_the_latest_starts() {
    play(
        "0    keeper ready
         0    link up         => state
         1    plan r1 skip 10 => confirm 1
         1    plan r2 skip 11 => confirm 2
         1    plan r3 skip 12 => confirm 3
         2    dies
         23   starts
         23   keeper ready
         24   link up         => state armed r3 ended r1,r2; start r3; report r1 missed: agent was down; report r2 missed: agent was down",
    );
}

#[test]
fn runs_due_while_the_agent_was_down_for_a_moment_start_one_after_the_other() {
    play(
        "0    keeper ready
         0    link up         => state
         1    plan r1 skip 10 => confirm 1
         1    plan r2 skip 11 => confirm 2
         1    plan r3 skip 13 => confirm 3
         9    dies
         12   starts
         12   link up
         12   keeper ready    => state armed r1,r2,r3; start r1
         12   keeper started r1 => report r1 started
         12.1 keeper ended r1 => start r2; report r1 succeeded: exit 0
         12.1 keeper started r2 => report r2 started
         13   wait
         13.1 keeper ended r2 => start r3; report r2 succeeded: exit 0",
    );
}

#[test]
fn a_run_due_while_the_agent_was_down_waits_a_moment_for_a_center_that_may_know_better() {
    play(
        "0    keeper ready
         0    link up         => state
         1    plan r1 skip 10 => confirm 1
         2    dies
         15   starts
         15   keeper ready
         17.9 wait
         18   wait            => start r1",
    );
    play(
        "0    keeper ready
         0    link up           => state
         1    plan r1 allow 10  => confirm 1
         2    dies
         15   starts
         15   keeper ready
         15   center lends nothing
         15   link up           => state armed r1
         15.1 cancel r1         => confirm 1
         30   wait",
    );
}

#[test]
fn a_copy_that_is_refused_fires_nothing_and_keeps_nothing_alive_until_it_is_let_in() {
    play(
        "0    keeper ready
         0    link up           => state
         1    assign w          => assign w r1; confirm 1
         1    plan r1 allow 10  => confirm 2
         2    refused           => warn this agent is refused and fires nothing: a copy; where this directory is the one to stay run `ucron-agent reset`, elsewhere remove it and join anew; withdraw (the agent's state directory is a copy, or was rolled back)
         2    refused
         11   wait
         12   crash
         12   keeper ready
         13   link up           => state
         14   plan r2 allow 20  => confirm 1
         20   wait              => start r2",
    );
}

#[test]
fn a_run_that_the_keeper_knows_is_not_started_again_after_a_crash() {
    play(
        "0    keeper ready
         0    link up                 => state
         1    plan r1 skip 10         => confirm 1
         1    plan r2 allow 10        => confirm 2
         10   wait                    => start r1; start r2
         10   crash
         11   keeper up
         11   keeper knows r1 running
         11   keeper knows r2 ended
         11   keeper set end
         12   link up                 => state running r1 ended r2; report r2 succeeded: exit 0
         13   ack                     => forget r2",
    );
}

#[test]
fn after_a_reboot_nothing_armed_is_fired_and_daemons_are_given_again() {
    play(
        "0    keeper ready
         0    link up             => state
         1    plan r1 skip 10     => confirm 1
         1    assign web          => assign web r1; confirm 2
         2    reboot
         3    keeper ready        => assign web r1
         4    link up             => state daemons 1
         20   wait",
    );
}

#[test]
fn a_decision_of_the_last_boot_is_still_reported() {
    play(
        "0    keeper ready
         1    link up           => state
         2    plan r1 skip 10   => confirm 1
         2    plan r2 skip 11   => confirm 2
         10   wait              => start r1
         10.1 link down
         11   wait
         12   reboot
         13   keeper ready
         14   link up           => state ended r2; report r2 skipped: overlap with run r1
         15   ack
         16   link down
         17   link up           => state",
    );
}

#[test]
fn target_one_starts_only_under_the_session_lease() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 one 4     => confirm 1
         1     plan r2 one 30    => confirm 2
         4     wait              => start r1 until 18
         4     keeper ended r1   => report r1 succeeded: exit 0
         5     center mute
         12    wait              => close: the center was silent for 9 s
         30    wait
         33    center speaks
         33    link up           => state ended r1,r2; report r1 succeeded: exit 0; report r2 not started: the agent held no lease of the center
         35    ack               => forget r1
         36    link down
         37    link up           => state",
    );
}

#[test]
fn a_run_of_target_one_waits_a_moment_for_the_link_of_an_agent_that_was_restarted() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 one 10    => confirm 1
         9     dies
         10.2  starts
         10.2  keeper ready
         11.5  link up           => state armed r1; start r1 until 26",
    );
}

#[test]
fn an_agent_asks_again_soon_for_a_lease_that_it_was_not_given() {
    play(
        "0     keeper ready
         0     center lends nothing
         0     link up           => state
         1     plan r1 one 2     => confirm 1
         2     center lends leases
         3     wait              => start r1 until 17",
    );
}

#[test]
fn what_the_keeper_did_not_start_is_given_back_for_good() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 one 4     => confirm 1
         4     wait              => start r1 until 18
         5     keeper refuses r1 => report r1 not started: the lease was over
         6     crash
         7     keeper ready
         8     link up           => state ended r1; report r1 not started: the lease was over
         9     plan r1 one 4     => confirm 1 refused r1 (it was given back and that is not acknowledged yet)
         10    ack
         11    plan r1 one 4     => confirm 2; start r1 until 26",
    );
}

#[test]
fn a_cancelled_run_does_not_start_not_even_after_a_crash() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 skip 10   => confirm 1
         2     cancel r1 stop    => confirm 2
         3     crash
         4     keeper ready
         12    wait",
    );
}

#[test]
fn a_cancel_after_the_start_says_so_and_stops_where_asked() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 skip 10   => confirm 1
         10    wait              => start r1
         10    disk slow
         11    cancel r1         => confirm 2 started r1
         12    cancel r1 stop    => stop r1 (stopped by admin); confirm 3 started r1
         13    keeper ended r1   => report r1 succeeded: exit 0
         14    cancel r1 stop    => confirm 4 started r1",
    );
}

#[test]
fn a_task_stopped_and_started_again_within_lead_fires_on() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 skip 10   => confirm 1
         2     cancel r1 stop    => confirm 2
         3     plan r1 skip 10   => confirm 3
         10    wait              => start r1",
    );
}

#[test]
fn a_change_arms_the_same_run_in_its_new_revision() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 skip 10   => confirm 1
         2     change r1         => confirm 2
         10    wait              => start r1
         11    change r1         => confirm 3 started r1",
    );
}

#[test]
fn the_same_order_again_changes_nothing() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 skip 10   => confirm 1
         1     again             => confirm 1
         1     anew              => confirm 2
         10    wait              => start r1
         11    again             => confirm 2
         11    anew              => confirm 3
         12    keeper ended r1   => report r1 succeeded: exit 0
         13    anew              => report r1 succeeded: exit 0; confirm 4",
    );
}

#[test]
fn a_repeated_order_waits_for_the_record_of_the_first() {
    play(
        "0     keeper ready
         0     link up           => state
         1     disk slow
         1     plan r1 skip 10
         2     anew
         3     disk fast         => confirm 1; confirm 2",
    );
}

#[test]
fn a_decision_is_told_again_to_a_center_that_forgot_it() {
    play(
        "0     keeper ready
         0     link up           => state
         1     plan r1 skip 10   => confirm 1
         1     plan r2 skip 11   => confirm 2
         10    wait              => start r1
         11    wait              => report r2 skipped: overlap with run r1
         12    ack
         13    plan r2 skip 11   => report r2 skipped: overlap with run r1; confirm 3",
    );
}

#[test]
fn runs_due_while_the_keeper_is_away_wait_until_they_are_too_late() {
    play(
        "0     keeper ready
         0     link up                   => state
         1     plan r1 skip 10 before 15 => confirm 1
         1     plan r2 allow 10          => confirm 2
         5     keeper down               => warn the keeper's connection is lost: killed
         16    wait                      => report r1 missed: keeper could not be reached
         17    keeper ready              => start r2",
    );
}

#[test]
fn a_start_lost_with_the_keeper_is_given_again_and_a_running_one_is_not() {
    play(
        "0     keeper ready
         0     link up                 => state
         1     plan r1 skip 10         => confirm 1
         1     plan r2 allow 10        => confirm 2
         10    wait                    => start r1; start r2
         10    keeper started r1       => report r1 started
         11    keeper down             => warn the keeper's connection is lost: killed
         12    keeper up
         12    keeper knows r1 running
         12    keeper set end          => start r2",
    );
}

#[test]
fn a_stop_while_the_keeper_is_away_is_told_when_it_comes_back() {
    play(
        "0     keeper ready
         0     link up                 => state
         1     plan r1 skip 10         => confirm 1
         1     plan r2 allow 10        => confirm 2
         10    wait                    => start r1; start r2
         11    keeper down             => warn the keeper's connection is lost: killed
         12    cancel r1 stop          => confirm 3 started r1
         12    cancel r2 stop          => confirm 4 started r2
         13    keeper up
         13    keeper knows r1 running
         13    keeper set end          => stop r1 (stopped by admin); report r2 skipped: stopped by admin",
    );
}

#[test]
fn an_order_of_a_lower_epoch_is_refused_even_after_a_crash() {
    play(
        "0     keeper ready
         0     epoch 5
         0     link up           => state
         1     plan r1 skip 10   => confirm 1
         2     crash
         3     keeper ready
         3     epoch 4
         3     link up           => state armed r1
         4     plan r2 allow 11  => close: an order of epoch 4 is refused: an order of epoch 5 came before it; this center no longer leads
         10    wait              => start r1",
    );
}

#[test]
fn a_center_that_takes_the_lead_on_a_standing_link_is_told_everything() {
    play(
        "0     epoch 0
         0     keeper ready
         0     link up
         1     epoch 3
         2     plan r1 skip 10   => state; confirm 1
         10    wait              => start r1
         11    keeper ended r1   => report r1 succeeded: exit 0
         12    epoch 4
         15    wait              => state ended r1; report r1 succeeded: exit 0",
    );
}

#[test]
fn links_are_served_without_a_keeper_after_some_seconds() {
    play(
        "0     link up
         1     plan r1 skip 10
         5     wait              => warn the keeper could not be reached; the center gets what is known without it; state; confirm 1
         11    keeper ready      => start r1",
    );
}

#[test]
fn daemons_follow_their_assignments() {
    play(
        "0     keeper up
         0     keeper has old
         0     keeper set end    => withdraw (no longer assigned)
         0     link up           => state
         1     assign web        => assign web r1; confirm 1
         2     anew              => confirm 2
         3     keeper down       => warn the keeper's connection is lost: killed
         4     keeper ready      => assign web r1
         5     withdraw web      => withdraw (stopped by admin); confirm 3
         6     crash
         7     keeper ready",
    );
}

#[test]
fn a_killed_run_that_only_waits_is_skipped() {
    play(
        "0    keeper ready
         0    link up           => state
         1    plan r1 queue 10  => confirm 1
         1    plan r2 queue 11  => confirm 2
         11   wait              => start r1
         12   kill r2           => confirm 3; report r2 skipped: killed by admin
         13   kill r1           => stop r1 (killed by admin); confirm 4",
    );
}

#[test]
fn a_host_a_little_behind_waits_for_both_clocks_and_one_far_off_follows_the_center() {
    play(
        "0      keeper ready
         0      wall -500
         0      link up           => state
         1      plan r1 skip 10   => confirm 1
         10.4   wait
         10.5   wait              => start r1
         11     keeper ended r1   => report r1 succeeded: exit 0
         12     wall -600000
         13     plan r2 skip 20   => confirm 2
         20     wait              => start r2",
    );
}

#[test]
fn a_run_of_target_one_waits_a_moment_for_the_first_lease_of_a_new_link() {
    play(
        "0     keeper ready
         0     center mute
         0     link up           => state
         0     plan r1 one 0     => confirm 1
         2     wait              => report r1 not started: the agent held no lease of the center
         2     plan r2 one 2.5   => confirm 2
         2.6   center speaks
         3     wait              => start r2 until 18",
    );
}

#[test]
fn a_journal_made_anew_holds_what_the_old_one_held() {
    use std::fmt::Write;
    let mut script = "0 keeper ready
        0 link up => state
        1 plan kept skip 100 => confirm 1
        1 assign web => assign web r1; confirm 2
        2 plan active queue 3 => confirm 3
        2 plan waits queue 4 => confirm 4
        3 wait => start active
        3 keeper started active => report active started
        4 wait"
        .to_owned();
    for n in 0..1200 {
        let seq = 5 + 2 * n;
        write!(
            script,
            "\n5 plan r{n} skip 90 => confirm {seq}\n5 cancel r{n} => confirm {}",
            seq + 1
        )
        .unwrap();
    }
    script.push_str(
        "
        6 journal is short
        6 crash
        6 keeper up
        6 keeper knows active running
        6 keeper set end => assign web r1
        7 link up => state armed kept,waits running active daemons 1
        8 keeper ended active => start waits; report active succeeded: exit 0
        100 wait => start kept",
    );
    play(&script);
}
