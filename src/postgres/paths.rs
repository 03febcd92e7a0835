//! The planner's paths (pathnodes.h), and the hook for the paths of a join (paths.h).

use super::compat;
use super::list::List;
use super::planner::{Rel, Root};
use super::refs::{Ref, calls, fields, parts, setters};
use super::relids::Relids;
use pgrx::pg_sys;

/// A way to get the rows of a relation or a join.
pub type Path<'p> = Ref<'p, pg_sys::Path>;

fields! {
    /// The clauses of a join.
    JoinPathExtraData.restrictlist as clauses: List<'p, pg_sys::RestrictInfo>;
    /// The relation.
    Path.parent as relation: Option<Rel<'p>>;
    /// The order of the rows.
    Path.pathkeys as pathkeys: List<'p, pg_sys::PathKey>;
    /// What the path takes from other relations.
    Path.param_info as parameters: Option<Ref<'p, pg_sys::ParamPathInfo>>;
    /// The relations that the parameters come from.
    ParamPathInfo.ppi_req_outer as required_outer: Relids<'p>;
    /// The join clauses that the path checks.
    ParamPathInfo.ppi_clauses as clauses: List<'p, pg_sys::RestrictInfo>;
    /// The outer side.
    JoinPath.outerjoinpath as outer: Option<Path<'p>>;
    /// The inner side.
    JoinPath.innerjoinpath as inner: Option<Path<'p>>;
    /// The paths of the parts.
    AppendPath.subpaths as parts: List<'p, pg_sys::Path>;
    /// The paths of the parts.
    MergeAppendPath.subpaths as parts: List<'p, pg_sys::Path>;
    /// The paths below.
    CustomPath.custom_paths as parts: List<'p, pg_sys::Path>;
    /// The clauses of the join.
    JoinPath.joinrestrictinfo as clauses: List<'p, pg_sys::RestrictInfo>;
    /// The columns that the path gives.
    Path.pathtarget as target: Option<Ref<'p, pg_sys::PathTarget>>;
    /// The provider's own list.
    CustomPath.custom_private as private: List<'p, pg_sys::Node>;
    /// The wrapper's own list.
    ForeignPath.fdw_private as private: List<'p, pg_sys::Node>;
}

parts! {
    /// The path.
    ForeignPath.path as as_path: Path;
    /// The path.
    AppendPath.path as as_path: Path;
    /// The path.
    JoinPath.path as as_path: Path;
    /// The path.
    ProjectionPath.path as as_path: Path;
}

setters! {
    ForeignPath.fdw_private as set_private: List<'p, pg_sys::Node>;
    /// Sets the paths of the parts.
    AppendPath.subpaths as set_parts: List<'p, pg_sys::Path>;
    /// Sets the paths of the parts.
    MergeAppendPath.subpaths as set_parts: List<'p, pg_sys::Path>;
    /// Sets the outer side.
    JoinPath.outerjoinpath as set_outer: Path<'p>;
    /// Sets the inner side.
    JoinPath.innerjoinpath as set_inner: Path<'p>;
    /// Sets whether a row of the outer side matches one row of the inner side at most.
    JoinPath.inner_unique as set_inner_unique: bool;
}

/// Defines the path below, of kinds of paths that have one.
macro_rules! only_child {
    ($($path:ident),*) => {
        fields! {
            $(/// The path below.
            $path.subpath as child: Option<Path<'p>>;)*
        }

        fn only_child(path: Path) -> Option<Path> {
            None$(.or_else(|| path.cast::<pg_sys::$path>()?.child()))*
        }
    };
}
only_child! {
    MaterialPath, ProjectionPath, ProjectSetPath, SortPath, GroupPath, AggPath, GroupingSetsPath, WindowAggPath, UniquePath,
    LimitPath, LockRowsPath, SubqueryScanPath, GatherPath, GatherMergePath
}

calls! {
    /// Whether a kind of plan keeps its rows, so that a rescan does not run what is below.
    pub fn keeps_rows(plan: pg_sys::NodeTag) -> bool = ExecMaterializesOutput(plan);
}

impl<'p> Path<'p> {
    /// The relations that the path's parameters come from.
    pub fn required_outer(self) -> Relids<'p> {
        self.parameters()
            .map_or(Relids::EMPTY, |info| info.required_outer())
    }

    /// The relation, or the members of the join.
    pub fn relids(self) -> Relids<'p> {
        self.relation().map_or(Relids::EMPTY, |rel| rel.relids())
    }

    /// The path's join, if it is one.
    pub fn as_join(self) -> Option<Ref<'p, pg_sys::JoinPath>> {
        self.cast()
    }

    /// The nested loop, if the path is one.
    pub fn as_nested_loop(self) -> Option<Ref<'p, pg_sys::JoinPath>> {
        self.cast_tagged(pg_sys::NodeTag::T_NestPath)
    }

    /// The paths directly below, of the kinds of paths that can have a scan below.
    pub fn children(self) -> Vec<Path<'p>> {
        let parts = (self
            .cast()
            .map(|path: Ref<pg_sys::AppendPath>| path.parts()))
        .or_else(|| Some(self.cast::<pg_sys::MergeAppendPath>()?.parts()))
        .or_else(|| Some(self.cast::<pg_sys::CustomPath>()?.parts()));
        match (self.as_join(), parts) {
            (Some(join), _) => [join.outer(), join.inner()].into_iter().flatten().collect(),
            (_, Some(parts)) => parts.iter().collect(),
            _ => (only_child(self).into_iter())
                .chain(compat::path_made_unique(self))
                .collect(),
        }
    }
}

impl<'p> Ref<'p, pg_sys::ForeignPath> {
    /// What the path takes from other relations.
    pub fn parameters(self) -> Option<Ref<'p, pg_sys::ParamPathInfo>> {
        self.as_path().parameters()
    }

    /// A copy with another list of the wrapper's.
    pub fn with_private(self, private: List<'p, pg_sys::Node>) -> Ref<'p, pg_sys::ForeignPath> {
        let copy = self.duplicate();
        copy.set_private(private);
        copy
    }
}

impl<'p> Ref<'p, pg_sys::AppendPath> {
    /// A copy with other parts.
    pub fn with_parts(self, parts: List<'p, pg_sys::Path>) -> Path<'p> {
        let copy = self.duplicate();
        copy.set_parts(parts);
        copy.as_path()
    }
}

impl<'p> Ref<'p, pg_sys::JoinPath> {
    /// Makes the join cost more.
    pub fn add_cost(self, more: f64) {
        // SAFETY: the planner is making the path.
        unsafe { (*self.as_ptr()).path.total_cost += more };
    }

    /// A copy of a nested loop with another outer side.
    pub fn nested_loop_with_outer(self, outer: Path<'p>) -> Option<Path<'p>> {
        let nested_loop: Ref<pg_sys::NestPath> = self.cast()?;
        let copy: Ref<pg_sys::JoinPath> = nested_loop.duplicate().cast()?;
        copy.set_outer(outer);
        Some(copy.as_path())
    }
}

/// What PostgreSQL calls `set_join_pathlist_hook` with (paths.h): one way to make a join of two relations.
#[derive(Clone, Copy)]
pub struct JoinHook<'p> {
    /// The query being planned.
    pub root: Root<'p>,
    /// The join.
    pub joinrel: Rel<'p>,
    /// Its outer side.
    pub outerrel: Rel<'p>,
    /// Its inner side.
    pub innerrel: Rel<'p>,
    /// Its kind.
    pub jointype: pg_sys::JoinType::Type,
    /// Its clauses, among others.
    pub extra: Ref<'p, pg_sys::JoinPathExtraData>,
}

impl<'p> JoinHook<'p> {
    /// A nested loop with the clauses of the join.
    pub fn nested_loop(
        &self,
        jointype: pg_sys::JoinType::Type,
        outer: Path<'p>,
        inner: Path<'p>,
    ) -> Path<'p> {
        compat::create_nestloop_path(self, jointype, outer, inner)
    }

    /// Whether the join is of a kind that a nested loop can do.
    pub fn can_be_nested_loop(&self) -> bool {
        use pg_sys::JoinType::{JOIN_ANTI, JOIN_INNER, JOIN_LEFT, JOIN_SEMI};
        matches!(
            self.jointype,
            JOIN_INNER | JOIN_LEFT | JOIN_SEMI | JOIN_ANTI
        )
    }
}
