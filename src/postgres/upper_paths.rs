//! Paths above joins: what PostgreSQL makes of a query once its tables are joined (pathnodes.h, planner.h).

use super::list::List;
use super::paths::Path;
use super::planner::{Rel, Root};
use super::refs::{Node, Ref, calls, fields, parts, setters};
use pgrx::pg_sys;

/// The columns that a path gives.
pub type Target<'p> = Ref<'p, pg_sys::PathTarget>;

fields! {
    /// The path below.
    ModifyTablePath.subpath as child: Option<Path<'p>>;
    /// The lists of RETURNING, one for each table that is written.
    ModifyTablePath.returningLists as returning: List<'p, pg_sys::Node>;
    /// RETURNING.
    Query.returningList as returning: List<'p, pg_sys::TargetEntry>;
}

parts! {
    /// The path.
    ModifyTablePath.path as as_path: Path;
}

setters! {
    /// Sets the paths.
    RelOptInfo.pathlist as set_paths: List<'p, pg_sys::Path>;
    RelOptInfo.baserestrictinfo as set_restrictions: List<'p, pg_sys::RestrictInfo>;
    ModifyTablePath.subpath as set_child: Path<'p>;
    /// Sets the lists of RETURNING, one for each table that is written.
    ModifyTablePath.returningLists as set_returning: List<'p, pg_sys::Node>;
    /// Sets the columns that the query's plan gives, with their names.
    PlannerInfo.processed_tlist as set_targets: List<'p, pg_sys::TargetEntry>;
    LimitPath.subpath as set_child: Path<'p>;
    LockRowsPath.subpath as set_child: Path<'p>;
    SortPath.subpath as set_child: Path<'p>;
}

calls! {
    fn empty_target<'p>() -> Target<'p> = create_empty_pathtarget();
    /// Adds to a target that nobody else has.
    fn add_column(target: Target, expression: Node, sort_group: u32) = add_column_to_pathtarget(target, expression, sort_group);
    fn with_cost<'p>(root: Root<'p>, target: Target<'p>) -> Target<'p> = set_pathtarget_cost_width(root, target);
    fn projection<'p>(root: Root<'p>, rel: Rel<'p>, path: Path<'p>, target: Target<'p>) -> Ref<'p, pg_sys::ProjectionPath>
        = create_projection_path(root, rel, path, target);
}

impl<'p> Root<'p> {
    /// A target of expressions, each with its number in GROUP BY, DISTINCT and ORDER BY, 0 for none.
    pub fn make_target(self, columns: impl IntoIterator<Item = (Node<'p>, u32)>) -> Target<'p> {
        let target = empty_target();
        for (expression, sort_group) in columns {
            add_column(target, expression, sort_group);
        }
        with_cost(self, target)
    }

    /// A path with other columns, which PostgreSQL has the plan below give if it can.
    pub fn project(self, rel: Rel<'p>, path: Path<'p>, target: Target<'p>) -> Path<'p> {
        projection(self, rel, path, target).as_path()
    }
}

impl<'p> Rel<'p> {
    /// A copy of the relation without clauses.
    pub fn without_clauses(self) -> Rel<'p> {
        let copy = self.duplicate();
        copy.set_restrictions(List::EMPTY);
        copy
    }
}

impl<'p> Target<'p> {
    /// The number of a column, by its index from 0, in GROUP BY, DISTINCT and ORDER BY; 0 for none.
    pub fn sort_group(self, index: usize) -> u32 {
        // SAFETY: the array is null or has an element for each expression.
        match index < self.expressions().len() && !self.sortgrouprefs.is_null() {
            true => unsafe { *self.sortgrouprefs.add(index) },
            false => 0,
        }
    }
}

impl<'p> Path<'p> {
    /// Changes the path below with a function, where this path gives each of that one's rows or the first ones, with its columns by their position, and does not
    /// evaluate them again. False where the path is another.
    pub fn change_child(self, change: &mut dyn FnMut(Path<'p>) -> Path<'p>) -> bool {
        macro_rules! change_in {
            ($($path:ident),*) => {
                $(if let Some(path) = self.cast::<pg_sys::$path>() {
                    if let Some(child) = path.child() {
                        path.set_child(change(child));
                    }
                    return true;
                })*
            };
        }
        change_in!(ModifyTablePath, LimitPath, LockRowsPath, SortPath);
        if let Some(append) = self.cast::<pg_sys::AppendPath>() {
            append.set_parts(List::of(append.parts().iter().map(change)));
            return true;
        }
        if let Some(merge) = self.cast::<pg_sys::MergeAppendPath>() {
            merge.set_parts(List::of(merge.parts().iter().map(change)));
            return true;
        }
        false
    }
}
