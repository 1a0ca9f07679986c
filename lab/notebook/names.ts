/**
 * Which names a cell declares, and where it refers to names that it does not declare. Scopes are JavaScript's, in a module: `var`
 * belongs to the function around it, everything else to the block.
 */
import type * as acorn from "acorn";
import { base, recursive, type RecursiveVisitors } from "acorn-walk";

/** One mention of a name that the cell does not declare. Offsets in UTF-16 code units. */
export interface Reference {
  name: string;
  start: number;
  end: number;
  reads: boolean;
  writes: boolean;
  /** The `{x}` of an object or a pattern, where the name is also the property's. */
  shorthand: boolean;
  /** Where `typeof` stands, if the name is all that it is asked of: it may be a name that nothing has. */
  typeofStart?: number;
}

/** What became of a cell's names. */
export interface Names {
  /** Declared at the cell's top, in order of appearance: imports, let, const, using, class, function, and every `var` outside functions. */
  declared: { name: string; start: number }[];
  /** Mentions of names that are declared nowhere around them, in order of appearance. */
  free: Reference[];
  /** Of the free names, those whose value is changed in place: `x.y = 1`, `x[0]++`, `delete x.y`, `x.push(1)`. */
  mutated: string[];
}

/** Methods that change what they are called on: JavaScript's own collections, and the lab's training handles. */
const mutators: ReadonlySet<string> = new Set(
  `add append backward clear copyWithin delete fill pop push restore reverse rewind set shift sort splice step train undo
  unshift update zeroGrad`.split(/\s+/),
);

interface Scope {
  /** Where each name is first declared. */
  names: Map<string, number>;
  parent?: Scope;
  /** Where `var` goes: the nearest such scope. */
  holdsVar: boolean;
}

interface State {
  scope: Scope;
  /** What a name in a pattern is: declared in a scope, or, without one, assigned. */
  declares?: Scope;
}

type Visit<Node> = (node: Node, state: State, go: Go) => void;
type Go = (node: acorn.Node, state: State, as?: string) => void;

/** @param program parsed as a module */
export function namesOf(program: acorn.Program): Names {
  const top: Scope = { names: new Map(), holdsVar: true };
  const found: { scope: Scope; reference: Reference }[] = [];
  const changed: { scope: Scope; name: string }[] = [];
  const shorthands = new Set<number>();

  const within = (parent: Scope, holdsVar = false): Scope => ({ names: new Map(), parent, holdsVar });
  const declare = ({ names }: Scope, { name, start }: acorn.Identifier) => {
    if (!names.has(name)) names.set(name, start);
  };
  const refer = (
    { name, start, end }: acorn.Identifier,
    scope: Scope,
    reads: boolean,
    writes: boolean,
    typeofStart?: number,
  ) => {
    const shorthand = shorthands.has(start);
    found.push({ scope, reference: { name, start, end, reads, writes, shorthand, typeofStart } });
  };
  /** `x` of `x.y[0].z`. */
  const mutate = (node: acorn.Node, scope: Scope) => {
    let at = node as acorn.Expression;
    if (at.type === "ChainExpression") at = at.expression;
    if (at.type !== "MemberExpression") return;
    while (at.type === "MemberExpression") at = at.object as acorn.Expression;
    if (at.type === "Identifier") changed.push({ scope, name: at.name });
  };

  const block: Visit<acorn.Node> = (node, { scope }, go) =>
    (base as unknown as Record<string, Visit<acorn.Node>>)[node.type](node, { scope: within(scope) }, go);

  const forEach: Visit<acorn.ForInStatement | acorn.ForOfStatement> = (node, { scope }, go) => {
    const inner = within(scope);
    go(node.left, { scope: inner }, node.left.type === "VariableDeclaration" ? undefined : "Pattern");
    go(node.right, { scope: inner }, "Expression");
    go(node.body, { scope: inner }, "Statement");
  };

  const visitors: Record<string, unknown> = {
    BlockStatement: block,
    ForStatement: block,
    ForInStatement: forEach,
    ForOfStatement: forEach,
    SwitchStatement: block,
    StaticBlock: ((node, { scope }, go) => {
      for (const statement of node.body) go(statement, { scope: within(scope, true) }, "Statement");
    }) as Visit<acorn.StaticBlock>,

    CatchClause: ((node, { scope }, go) => {
      const inner = within(scope);
      if (node.param) go(node.param, { scope: inner, declares: inner }, "Pattern");
      go(node.body, { scope: inner }, "Statement");
    }) as Visit<acorn.CatchClause>,

    Function: ((node, { scope }, go) => {
      if (node.type === "FunctionDeclaration" && node.id) declare(scope, node.id);
      const parameters = within(scope, true);
      if (node.type === "FunctionExpression" && node.id) declare(parameters, node.id);
      if (node.type !== "ArrowFunctionExpression") parameters.names.set("arguments", node.start);
      for (const one of node.params) go(one, { scope: parameters, declares: parameters }, "Pattern");
      if (node.body.type !== "BlockStatement") return go(node.body, { scope: parameters }, "Expression");
      // A body's `var` is not what a parameter's default refers to.
      const body = within(parameters, true);
      for (const statement of node.body.body) go(statement, { scope: body }, "Statement");
    }) as Visit<acorn.Function>,

    Class: ((node, { scope }, go) => {
      if (node.type === "ClassDeclaration" && node.id) declare(scope, node.id);
      const inner = within(scope);
      if (node.id) declare(inner, node.id);
      if (node.superClass) go(node.superClass, { scope: inner }, "Expression");
      go(node.body, { scope: inner });
    }) as Visit<acorn.Class>,

    VariableDeclaration: ((node, { scope }, go) => {
      let holder = scope;
      while (node.kind === "var" && !holder.holdsVar) holder = holder.parent!;
      for (const { id, init } of node.declarations) {
        go(id, { scope, declares: holder }, "Pattern");
        if (init) go(init, { scope }, "Expression");
      }
    }) as Visit<acorn.VariableDeclaration>,

    ImportDeclaration: ((node, { scope }) => {
      for (const { local } of node.specifiers) declare(scope, local);
    }) as Visit<acorn.ImportDeclaration>,

    VariablePattern: ((node, { scope, declares }) => {
      if (declares) declare(declares, node);
      else refer(node, scope, false, true);
    }) as Visit<acorn.Identifier>,

    MemberPattern: ((node, { scope }, go) => {
      mutate(node, scope);
      go(node, { scope }, "Expression");
    }) as Visit<acorn.MemberExpression>,

    ObjectPattern: ((node, state, go) => {
      for (const property of node.properties) {
        if (property.type !== "Property" || !property.shorthand) continue;
        const { value } = property;
        shorthands.add(value.type === "AssignmentPattern" ? value.left.start : value.start);
      }
      base.ObjectPattern!(node, state, go as never);
    }) as Visit<acorn.ObjectPattern>,

    AssignmentPattern: ((node, state, go) => {
      go(node.left, state, "Pattern");
      go(node.right, { scope: state.scope }, "Expression");
    }) as Visit<acorn.AssignmentPattern>,

    Property: ((node, { scope }, go) => {
      if (node.computed) go(node.key, { scope }, "Expression");
      if (node.shorthand) shorthands.add(node.value.start);
      go(node.value, { scope }, "Expression");
    }) as Visit<acorn.Property>,

    AssignmentExpression: ((node, { scope }, go) => {
      const { left, right, operator } = node;
      if (left.type === "Identifier") refer(left, scope, operator !== "=", true);
      else go(left, { scope }, "Pattern");
      go(right, { scope }, "Expression");
    }) as Visit<acorn.AssignmentExpression>,

    UpdateExpression: (({ argument }, { scope }, go) => {
      if (argument.type === "Identifier") return refer(argument, scope, true, true);
      mutate(argument, scope);
      go(argument, { scope }, "Expression");
    }) as Visit<acorn.UpdateExpression>,

    UnaryExpression: (({ argument, operator, start }, { scope }, go) => {
      if (operator === "typeof" && argument.type === "Identifier") {
        return refer(argument, scope, true, false, start);
      }
      if (operator === "delete") mutate(argument, scope);
      go(argument, { scope }, "Expression");
    }) as Visit<acorn.UnaryExpression>,

    CallExpression: ((node, { scope }, go) => {
      const { callee } = node;
      if (
        callee.type === "MemberExpression" && callee.property.type === "Identifier" && !callee.computed &&
        mutators.has(callee.property.name)
      ) mutate(callee, scope);
      base.CallExpression!(node, { scope }, go as never);
    }) as Visit<acorn.CallExpression>,

    Identifier: ((node, { scope }) => refer(node, scope, true, false)) as Visit<acorn.Identifier>,
    MetaProperty: () => {},
  };
  for (const statement of program.body) {
    recursive<State>(statement, { scope: top }, visitors as RecursiveVisitors<State>);
  }

  const isFree = (scope: Scope | undefined, name: string): boolean =>
    scope === undefined || (!scope.names.has(name) && isFree(scope.parent, name));
  const free = found.filter(({ scope, reference }) => isFree(scope, reference.name));
  const mutated = changed.filter(({ scope, name }) => isFree(scope, name));
  return {
    declared: [...top.names].map(([name, start]) => ({ name, start })),
    free: free.map(({ reference }) => reference).sort((a, b) => a.start - b.start),
    mutated: [...new Set(mutated.map(({ name }) => name))],
  };
}
