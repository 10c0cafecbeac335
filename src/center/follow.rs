//! Following events: each follower reads the ring at its own pace, a window of items beyond what it has taken; one
//! that falls out of the ring is told so. Credit of every kind of stream comes in here.

use super::clients::{Asker, Stream};
use super::core::Core;
use super::event::{Effect, Now, SessionId};
use super::events::Audience;
use crate::auth::Access;
use crate::proto::client::{End, ITEM_WINDOW, ItemFrame, ToClient};
use crate::proto::request::{Events, Item, Refusal, RefusalCode};
use crate::proto::view::EventView;

impl Core {
    /// Opens a stream of events for a client.
    pub(super) fn open_events(
        &mut self,
        now: Now,
        asker: &Asker,
        ask: &Events,
    ) -> Result<(), Refusal> {
        let (next, gap) = match &ask.since {
            Some(cursor) => self.events.after(cursor, now.at).ok_or_else(|| Refusal {
                code: RefusalCode::Usage,
                message: format!("`{}` is no cursor of events", cursor.escape_debug()),
                hint: Some("give a `cursor` as `ucron events -o jsonl` shows it".to_owned()),
            })?,
            None if ask.follow => (self.events.end(), None),
            None => (self.events.first(), None),
        };
        let stream = Stream::Events {
            next,
            credit: ITEM_WINDOW - gap.iter().count() as u64,
            follow: ask.follow,
        };
        if let Some(gap) = gap {
            self.send_event(asker.session, asker.request, gap);
        }
        if let Some(client) = self.clients.get_mut(asker.session) {
            client.streams.insert(asker.request, stream);
        }
        self.pump_events(asker.session, asker.request);
        Ok(())
    }

    pub(super) fn credit(&mut self, session: SessionId, request: u64, items: u64) {
        match self
            .clients
            .get_mut(session)
            .and_then(|client| client.streams.get_mut(&request))
        {
            Some(Stream::Events { credit, .. }) => {
                *credit = credit.saturating_add(items).min(ITEM_WINDOW);
                self.pump_events(session, request);
            }
            Some(Stream::Logs(_)) => self.log_credit(session, request, items),
            Some(Stream::Watch(_)) => self.watch_credit(session, request, items),
            None => {}
        }
    }

    /// Tells everybody who follows and may see it.
    pub(super) fn publish(&mut self, audience: Audience, event: EventView) {
        self.touch_what(&event);
        self.events.push(audience, event);
        let followers = self
            .clients
            .streams_that(|stream| matches!(stream, Stream::Events { .. }));
        for (session, request) in followers {
            self.pump_events(session, request);
        }
    }

    /// Sends what a follower has credit for.
    fn pump_events(&mut self, session: SessionId, request: u64) {
        let Some(access) = self.asker(session, request).map(|asker| asker.access) else {
            return;
        };
        while let Some(step) = self.next_event(session, request, &access) {
            match step {
                Step::Item(event) => self.send_event(session, request, event),
                Step::End(refusal) => {
                    if let Some(client) = self.clients.get_mut(session) {
                        client.streams.remove(&request);
                    }
                    let frame = ToClient::End(End {
                        id: request,
                        refusal,
                    });
                    self.later(Effect::ToClient(session, Box::new(frame)));
                }
            }
        }
    }

    fn send_event(&mut self, session: SessionId, request: u64, event: EventView) {
        let frame = ToClient::Item(ItemFrame {
            id: request,
            item: Item::Event(Box::new(event)),
        });
        self.later(Effect::ToClient(session, Box::new(frame)));
    }

    fn next_event(&mut self, session: SessionId, request: u64, access: &Access) -> Option<Step> {
        let first = self.events.first();
        let end = self.events.end();
        let Stream::Events {
            next,
            credit,
            follow,
        } = self.clients.get_mut(session)?.streams.get_mut(&request)?
        else {
            return None;
        };
        if *next < first {
            return Some(Step::End(Some(Refusal {
                code: RefusalCode::Unavailable,
                message: "this reader was too slow: events were dropped".to_owned(),
                hint: Some("go on with `ucron events --since CURSOR`".to_owned()),
            })));
        }
        while *credit > 0 && *next < end {
            let (audience, event) = self.events.get(*next)?;
            *next += 1;
            if is_for(audience, access) {
                *credit -= 1;
                return Some(Step::Item(event.clone()));
            }
        }
        (!*follow && *next >= end).then_some(Step::End(None))
    }
}

/// What comes next on a stream of events.
enum Step {
    Item(EventView),
    End(Option<Refusal>),
}

fn is_for(audience: &Audience, access: &Access) -> bool {
    match audience {
        Audience::Group(group) => access.sees(group),
        Audience::AnyOf(groups) => {
            access.sees_all() || groups.iter().any(|group| access.sees(group))
        }
    }
}
