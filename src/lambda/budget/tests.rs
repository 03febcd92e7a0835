//! Tests of the budget.

use super::*;

fn poll(share: &Share, bytes: usize) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    share.poll_set(&mut context, bytes, 7).is_ready()
}

fn blocks(share: &Share, limit: Option<usize>) -> bool {
    let blocked = pin!(share.until_it_blocks(limit));
    blocked
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

/// One test, as the process has one awaited invocation.
#[test]
fn what_does_not_fit_waits_unless_it_is_awaited() {
    let budget = Budget::new(100);
    let shares: Vec<_> = (0..5).map(|_| budget.share()).collect();
    // The only share may have any size.
    assert!(poll(&shares[0], 200));
    shares[0].set(60);
    assert!(!poll(&shares[2], 50));
    // A small share waits behind a large one.
    assert!(!poll(&shares[3], 10) && poll(&shares[1], 40));
    shares[1].set(0);
    assert!(!poll(&shares[2], 50) && !poll(&shares[3], 10));
    shares[4].set_awaited_if_none();
    shares[2].set_awaited_if_none();
    assert!(blocks(&shares[4], None) && blocks(&shares[4], Some(7)));
    assert!(!blocks(&shares[4], Some(8)) && !blocks(&shares[2], None));
    assert!(poll(&shares[4], 1000));
    shares[4].set_finished();
    shares[2].set_awaited();
    assert!(poll(&shares[2], 50) && !poll(&shares[3], 10));

    // An awaited invocation without a permit has others of its limit give up theirs, as long as it waits.
    let must_yield = |share: &Share, limit| {
        pin!(share.until_it_must_yield(limit))
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    };
    let mut waiting = Box::pin(shares[0].until_it_blocks(Some(8)));
    assert!(
        (waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop())))
        .is_pending()
    );
    assert!(!must_yield(&shares[1], 8));
    shares[0].set_awaited();
    assert!(must_yield(&shares[1], 8) && !must_yield(&shares[1], 7));
    assert!(!must_yield(&shares[0], 8));
    drop(waiting);
    assert!(!must_yield(&shares[1], 8));
    shares[4].set_awaited();
    shares[0].set_awaited();
    assert_eq!(waiters().awaited, shares[0].number);
    drop(shares);
    assert_eq!(budget.used.load(Relaxed), 0);
    assert!(waiters().waiting.is_empty() && waiters().awaited == 0);

    budget.note_response(80);
    assert!(budget.has_room());
    let payload = budget.payload(30);
    assert!(!budget.has_room());
    drop(payload);
    budget.note_response(0);
    budget.note_row(101);
    assert!(budget.has_room() && !budget.has_room_for_row());
}
