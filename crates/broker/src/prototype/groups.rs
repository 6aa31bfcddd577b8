//! Classic consumer-group coordinator (JoinGroup/SyncGroup/Heartbeat/LeaveGroup), static membership, simple commits.
use super::sb;
use bytes::Bytes;
use kafka_protocol::messages::{self as m, *};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum St { #[default] Empty, Preparing, Completing, Stable }
impl St { pub fn name(&self) -> &'static str { match self { St::Empty => "Empty", St::Preparing => "PreparingRebalance", St::Completing => "CompletingRebalance", St::Stable => "Stable" } } }
pub struct Member { pub instance: Option<String>, client_id: String, host: String, session: Duration, rebalance: Duration, protocols: Vec<(String, Bytes)>, assignment: Bytes, last: Instant, joining: bool, syncing: bool, pub join_resp: Option<JoinGroupResponse>, pub sync_resp: Option<SyncGroupResponse> }
#[derive(Default)]
pub struct Group { pub state: St, pub generation: i32, pub ptype: String, pub proto: Option<String>, pub leader: Option<String>, pub members: BTreeMap<String, Member>, pub offsets: BTreeMap<(String, i32), (i64, Option<String>)>, pending: HashMap<String, Instant>, deadline: Option<Instant>, initial: Option<Instant> }
pub enum Joined { Wait(String), Now(Box<JoinGroupResponse>), Err(i16, String) }

impl Group {
    fn by_instance(&self, i: &str) -> Option<String> { self.members.iter().find(|(_, m)| m.instance.as_deref() == Some(i)).map(|(k, _)| k.clone()) }
    fn fenced(&self, id: &str, inst: Option<&str>) -> bool { inst.and_then(|i| self.by_instance(i)).is_some_and(|m| m != id) }
    fn prepare(&mut self) {
        if self.state == St::Preparing { return; }
        if self.state == St::Completing { for mb in self.members.values_mut() { if mb.syncing { mb.syncing = false; mb.sync_resp = Some(SyncGroupResponse::default().with_error_code(27)); } } }
        let now = Instant::now();
        if self.state == St::Empty { self.initial = Some(now + Duration::from_millis(100)); }
        self.state = St::Preparing;
        self.deadline = Some(now + self.members.values().map(|m| m.rebalance).max().unwrap_or_default());
    }
    pub fn join(&mut self, r: &JoinGroupRequest, v: i16, cid: &str, host: &str, mut new_id: impl FnMut() -> String) -> Joined {
        let id = r.member_id.to_string(); let inst = r.group_instance_id.as_ref().map(|s| s.to_string());
        let protocols: Vec<(String, Bytes)> = r.protocols.iter().map(|p| (p.name.to_string(), p.metadata.clone())).collect();
        if !self.members.is_empty() && (self.ptype != *r.protocol_type || !protocols.iter().any(|(n, _)| self.members.iter().filter(|(k, _)| **k != id).all(|(_, m)| m.protocols.iter().any(|(x, _)| x == n)))) { return Joined::Err(23, id); }
        let mut key = id.clone();
        if id.is_empty() {
            if let Some(i) = &inst {
                key = new_id();
                if let Some(old) = self.by_instance(i) {
                    let mut mb = self.members.remove(&old).unwrap(); let same = mb.protocols == protocols; mb.last = Instant::now(); mb.joining = false; mb.syncing = false;
                    self.members.insert(key.clone(), mb); if self.leader.as_deref() == Some(&old) { self.leader = Some(key.clone()); }
                    if self.state == St::Stable && same { return Joined::Now(Box::new(self.current(&key))); }
                }
            } else if v >= 4 { let n = new_id(); self.pending.insert(n.clone(), Instant::now()); return Joined::Err(79, n); } else { key = new_id(); }
        } else {
            if self.fenced(&id, inst.as_deref()) { return Joined::Err(82, id); }
            if !self.members.contains_key(&id) && self.pending.remove(&id).is_none() { return Joined::Err(25, id); }
        }
        self.ptype = r.protocol_type.to_string();
        let changed = self.members.get(&key).is_none_or(|m| m.protocols != protocols);
        if !changed {
            // an unchanged member that re-joins: answer from the current generation unless a new round is due
            match self.state { St::Stable if self.leader.as_deref() != Some(&key) => { self.members.get_mut(&key).unwrap().last = Instant::now(); return Joined::Now(Box::new(self.current(&key))); } St::Completing => return Joined::Now(Box::new(self.current(&key))), _ => {} }
        }
        let assignment = self.members.get(&key).map(|m| m.assignment.clone()).unwrap_or_default();
        let rebalance = Duration::from_millis(if v >= 1 { r.rebalance_timeout_ms.max(0) } else { r.session_timeout_ms } as u64);
        self.members.insert(key.clone(), Member { instance: inst, client_id: cid.into(), host: host.into(), session: Duration::from_millis(r.session_timeout_ms.max(1) as u64), rebalance, protocols, assignment, last: Instant::now(), joining: true, syncing: false, join_resp: None, sync_resp: None });
        self.prepare();
        Joined::Wait(key)
    }
    fn current(&self, id: &str) -> JoinGroupResponse {
        let lead = self.leader.as_deref() == Some(id) && self.state == St::Completing;
        let b = JoinGroupResponse::default().with_generation_id(self.generation).with_protocol_type(Some(sb(self.ptype.clone()))).with_protocol_name(Some(sb(self.proto.clone().unwrap_or_default()))).with_leader(sb(self.leader.clone().unwrap_or_default())).with_member_id(sb(id));
        if lead { b.with_members(self.listing()) } else { b }
    }
    fn listing(&self) -> Vec<m::join_group_response::JoinGroupResponseMember> {
        self.members.iter().map(|(k, mb)| m::join_group_response::JoinGroupResponseMember::default().with_member_id(sb(k.clone())).with_group_instance_id(mb.instance.clone().map(sb)).with_metadata(mb.protocols.iter().find(|(n, _)| Some(n) == self.proto.as_ref()).map(|p| p.1.clone()).unwrap_or_default())).collect()
    }
    /// Expires members, completes a round; true when something changed.
    pub fn tick(&mut self, now: Instant) -> bool {
        let dead: Vec<String> = self.members.iter().filter(|(_, m)| !m.joining && !m.syncing && now.duration_since(m.last) > m.session).map(|(k, _)| k.clone()).collect();
        for k in &dead { self.remove(k); }
        self.pending.retain(|_, t| now.duration_since(*t) < Duration::from_secs(30));
        if self.state != St::Preparing || self.initial.is_some_and(|t| now < t) { return !dead.is_empty(); }
        let late = self.deadline.is_some_and(|d| now >= d);
        if !late && !self.members.values().all(|m| m.joining) { return !dead.is_empty(); }
        if late { self.members.retain(|_, m| m.joining); }
        self.initial = None; self.deadline = None; self.generation += 1;
        if self.members.is_empty() { self.state = St::Empty; self.leader = None; self.proto = None; return true; }
        if self.leader.as_ref().is_none_or(|l| !self.members.contains_key(l)) { self.leader = self.members.keys().next().cloned(); }
        let l = &self.members[self.leader.as_ref().unwrap()];
        self.proto = l.protocols.iter().map(|p| p.0.clone()).find(|n| self.members.values().all(|m| m.protocols.iter().any(|p| p.0 == *n)));
        self.state = St::Completing;
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for k in ids { let x = self.current(&k); let mb = self.members.get_mut(&k).unwrap(); mb.joining = false; mb.last = now; mb.join_resp = Some(x); }
        true
    }
    fn remove(&mut self, id: &str) { self.members.remove(id); if self.members.is_empty() { self.state = St::Empty; self.generation += 1; self.leader = None; self.proto = None; } else { if self.leader.as_deref() == Some(id) { self.leader = None; } self.prepare(); } }
    pub fn leave(&mut self, id: &str, inst: Option<&str>) -> i16 {
        let key = match inst { Some(i) => match self.by_instance(i) { None => return 25, Some(k) if !id.is_empty() && k != id => return 82, Some(k) => k }, None => id.to_string() };
        if !self.members.contains_key(&key) { return if self.pending.remove(&key).is_some() { 0 } else { 25 }; }
        self.remove(&key); self.tick(Instant::now()); 0
    }
    fn member(&mut self, id: &str, inst: Option<&str>, generation: i32) -> Result<&mut Member, i16> {
        if self.fenced(id, inst) { return Err(82); }
        let g = self.generation; let mb = self.members.get_mut(id).ok_or(25i16)?;
        if g != generation { return Err(22); }
        mb.last = Instant::now(); Ok(mb)
    }
    pub fn heartbeat(&mut self, r: &HeartbeatRequest) -> i16 { let st = self.state; match self.member(&r.member_id, r.group_instance_id.as_deref(), r.generation_id) { Err(e) => e, Ok(_) => if st == St::Preparing { 27 } else { 0 } } }
    pub fn may_commit(&mut self, generation: i32, id: &str, inst: Option<&str>) -> i16 {
        if generation < 0 { return if self.members.is_empty() { 0 } else { 25 }; }
        let st = self.state; match self.member(id, inst, generation) { Err(e) => e, Ok(_) => if st == St::Completing { 27 } else { 0 } }
    }
    pub fn sync(&mut self, r: &SyncGroupRequest) -> Option<SyncGroupResponse> {
        let st = self.state; let lead = self.leader.as_deref() == Some(&*r.member_id); let (pt, pn) = (self.ptype.clone(), self.proto.clone().unwrap_or_default());
        let ok = |a: Bytes| SyncGroupResponse::default().with_protocol_type(Some(sb(pt.clone()))).with_protocol_name(Some(sb(pn.clone()))).with_assignment(a);
        let mb = match self.member(&r.member_id, r.group_instance_id.as_deref(), r.generation_id) { Err(e) => return Some(SyncGroupResponse::default().with_error_code(e)), Ok(m) => m };
        match st {
            St::Stable => Some(ok(mb.assignment.clone())),
            St::Completing => {
                mb.syncing = true;
                if lead {
                    let a: HashMap<&str, Bytes> = r.assignments.iter().map(|a| (&*a.member_id, a.assignment.clone())).collect();
                    for (k, mb) in &mut self.members { mb.assignment = a.get(k.as_str()).cloned().unwrap_or_default(); if mb.syncing { mb.syncing = false; mb.last = Instant::now(); mb.sync_resp = Some(ok(mb.assignment.clone())); } }
                    self.state = St::Stable; return self.members.get_mut(&*r.member_id).and_then(|m| m.sync_resp.take());
                }
                None
            }
            _ => Some(SyncGroupResponse::default().with_error_code(if st == St::Preparing { 27 } else { 25 })),
        }
    }
    pub fn describe(&self, d: m::describe_groups_response::DescribedGroup) -> m::describe_groups_response::DescribedGroup {
        let stable = self.state == St::Stable;
        d.with_group_state(sb(self.state.name())).with_protocol_type(sb(self.ptype.clone())).with_protocol_data(sb(if stable { self.proto.clone().unwrap_or_default() } else { String::new() })).with_authorized_operations(i32::MIN).with_members(self.members.iter().map(|(k, mb)| m::describe_groups_response::DescribedGroupMember::default().with_member_id(StrBytes::from_string(k.clone())).with_group_instance_id(mb.instance.clone().map(sb)).with_client_id(sb(mb.client_id.clone())).with_client_host(sb(mb.host.clone())).with_member_metadata(mb.protocols.first().map(|p| p.1.clone()).unwrap_or_default()).with_member_assignment(if stable { mb.assignment.clone() } else { Bytes::new() })).collect())
    }
}
