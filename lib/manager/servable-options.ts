// Options of one servable: those that the core follows, and those that stay in JavaScript.
import { parseDuration } from '../duration.js';
import type { NativeIntent } from '../native/binding.js';
import { checkFunction, checkInteger, checkKeys, invalidOption } from '../options.js';
import type { ContentChange, ServableOptions, StandbyOptions, ValidateServable } from '../types.js';
import { type BakeSettings, checkBake } from './bake-options.js';
import { checkPolicy } from './check-policy.js';

export const SERVABLE_KEYS = [
  'aspiredVersionPolicy',
  'priority',
  'onInsufficientMemory',
  'standby',
  'bake',
  'validate',
  'onContentChange',
] as const satisfies readonly (keyof ServableOptions)[];

/** Most versions that a servable may keep as standbys. */
const MAX_STANDBYS = 1000;
/** A hundred years: for longer is without an end, and no sum with the time of day overflows. */
const MAX_STANDBY_MS = 3_155_760_000_000;
const MAX_PRIORITY = 2 ** 31 - 1;

/** What stays in JavaScript; undefined: as it was, or as the manager says. */
export interface LocalSettings {
  readonly bake?: BakeSettings | false | undefined;
  readonly validate?: ValidateServable | false | undefined;
  readonly onContentChange?: ContentChange | undefined;
}

export interface CheckedServableOptions {
  readonly native: NativeIntent;
  readonly local: LocalSettings;
  readonly policy: ReturnType<typeof checkPolicy> | undefined;
}

/** Whether versions that wait for memory may free that of the old ones. */
export function checkInsufficientMemory(name: string, value: unknown): boolean | undefined {
  if (value === undefined) return undefined;
  if (value !== 'wait' && value !== 'resource-preserving') {
    throw invalidOption(name, "'wait' or 'resource-preserving'", value);
  }
  return value === 'resource-preserving';
}

/** [versions, milliseconds]. */
export function checkStandby(name: string, value: unknown): readonly [number, number] | undefined {
  if (value === undefined) return undefined;
  if (value === false) return [0, 0];
  checkKeys(name, value, ['versions', 'for']);
  const { versions, for: time } = value as Partial<StandbyOptions>;
  const ms = time === undefined ? Number.POSITIVE_INFINITY : parseDuration(`${name}.for`, time, 1);
  return [
    checkInteger(`${name}.versions`, versions, 1, 0, MAX_STANDBYS),
    // 0 is "until its memory is needed" to the core.
    ms > MAX_STANDBY_MS ? 0 : ms,
  ];
}

export function checkContentChange(name: string, value: unknown): ContentChange | undefined {
  if (value === undefined || value === 'refuse' || value === 'reload') return value;
  throw invalidOption(name, "'refuse' or 'reload'", value);
}

/** A function, false, or undefined. */
export function checkValidate(value: unknown): ValidateServable | false | undefined {
  return value === false ? false : checkFunction('validate', value as ValidateServable | undefined);
}

/** Checks what an object says of one servable; other keys are its caller's. */
export function checkServableOptions(options: ServableOptions): CheckedServableOptions {
  const { aspiredVersionPolicy, bake } = options;
  const policy =
    aspiredVersionPolicy === undefined ? undefined : checkPolicy('aspiredVersionPolicy', aspiredVersionPolicy);
  const local: LocalSettings = {
    bake: bake === false ? false : checkBake(bake),
    validate: checkValidate(options.validate),
    onContentChange: checkContentChange('onContentChange', options.onContentChange),
  };
  const native: NativeIntent = {
    policy: policy?.number,
    priority:
      options.priority === undefined
        ? undefined
        : checkInteger('priority', options.priority, 0, -MAX_PRIORITY, MAX_PRIORITY),
    freesOwn: checkInsufficientMemory('onInsufficientMemory', options.onInsufficientMemory),
    standby: checkStandby('standby', options.standby),
    bake: local.bake === undefined ? undefined : local.bake !== false,
  };
  return { native, local, policy };
}

/** The settings of all servables that stay in JavaScript. */
export class ServableSettings {
  private readonly byName = new Map<string, LocalSettings>();

  constructor(
    private readonly defaults: {
      readonly bake: BakeSettings | undefined;
      readonly validate: ValidateServable | undefined;
      readonly onContentChange: ContentChange;
    },
  ) {}

  /** What is undefined stays. */
  set(name: string, { bake, validate, onContentChange }: LocalSettings): void {
    if (bake === undefined && validate === undefined && onContentChange === undefined) return;
    const before = this.byName.get(name);
    this.byName.set(name, {
      bake: bake ?? before?.bake,
      validate: validate ?? before?.validate,
      onContentChange: onContentChange ?? before?.onContentChange,
    });
  }

  bakeOf(name: string): BakeSettings | undefined {
    return (this.byName.get(name)?.bake ?? this.defaults.bake) || undefined;
  }

  validateOf(name: string): ValidateServable | undefined {
    return (this.byName.get(name)?.validate ?? this.defaults.validate) || undefined;
  }

  contentChangeOf(name: string): ContentChange {
    return this.byName.get(name)?.onContentChange ?? this.defaults.onContentChange;
  }
}
