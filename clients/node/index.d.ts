/** How many ids a node takes at once. */
export const MAX_BATCH: 10000

/** One user as the source of truth has it. */
export interface Profile {
  readonly id: string
  readonly nom: string
  readonly prenom: string
  readonly fullName: string
  readonly avatar: string
  readonly matricule: string
  readonly ministere: string
  readonly sexe: string
  /** The version: milliseconds since 1970, strictly increasing per user. */
  readonly updatedAt: number
  readonly attrs?: Readonly<Record<string, string>>
}

export interface ClientOptions {
  /** Where the node is, such as http://127.0.0.1:8003. */
  url: string
  /** The bearer token, or what returns one for each request. Default: none is sent. */
  token?: string | (() => string | undefined | Promise<string | undefined>)
  /** Milliseconds of one try. Default 5000. */
  timeout?: number
  /** How often lookups and invalidations are tried again. Default 2. */
  retries?: number
  /** How many profiles are remembered with their ETag. Default 10000. */
  remember?: number
  /** Ids of one request for many users. Default 1000, at most MAX_BATCH. */
  batchSize?: number
  /** How many of these are under way at once. Default 4. */
  parallel?: number
  /** What makes requests; default that of Node.js. TLS with certificates of your own is for it to do. */
  fetch?: typeof globalThis.fetch
}

export interface Call {
  /** Ends the call; it rejects with the signal's reason. */
  signal?: AbortSignal
}

export interface Want extends Call {
  /** The lowest version that will do, for readers who must see their own change. */
  minVersion?: number
  /** The oldest answer that will do, in seconds; 0: only what the source of truth says now. */
  maxAge?: number
}

export interface Result {
  /** Frozen: it may be given to several callers. */
  profile: Profile
  tier: 'L1' | 'L1.5' | 'L2' | 'origin' | 'stale' | ''
  /** Seconds. */
  age: number
  /** Whether the node only confirmed what was remembered. */
  same: boolean
}

export interface Batch {
  users: Record<string, Profile>
  missing: string[]
  /** Why a user could not be looked up. */
  errors: Record<string, string>
}

export interface PrewarmSettings {
  maxUsers?: number
  daysBack?: number
  batchSize?: number
  /** Milliseconds. */
  delayBetweenBatches?: number
  /** Users a second asked of the source of truth. */
  rate?: number
  unlimited?: boolean
}

/** Counters and states as GET /openapi.json describes them. */
export type Json = Record<string, unknown>

/** A request that failed. */
export class EdgecacheError extends Error {
  /** The HTTP status, 0 when there was no answer. */
  readonly status: number
  /** What docs/problems.md explains, such as "user-not-found"; "" for an answer of none of our nodes. */
  readonly problem: string
  readonly detail: string
  readonly rule: string
  /** Seconds that the node asks to wait. */
  readonly retryAfter: number
  get notFound (): boolean
  get invalidId (): boolean
  get conflict (): boolean
  get unauthorized (): boolean
  get forbidden (): boolean
  get limited (): boolean
  get unavailable (): boolean
}

export class EdgecacheClient {
  constructor (options: ClientOptions)
  get (id: string, want?: Want): Promise<Result>
  getMany (ids: Iterable<string>, call?: Call): Promise<Batch>
  put (profile: Partial<Profile> & Pick<Profile, 'id' | 'updatedAt'>, call?: Call): Promise<void>
  invalidate (id: string, call?: Call): Promise<void>
  ready (call?: Call): Promise<boolean>
  stats (call?: Call): Promise<Json>
  cluster (call?: Call): Promise<Json>
  prewarm (call?: Call): Promise<Json>
  beginPrewarm (settings?: PrewarmSettings, call?: Call): Promise<Json>
  cancelPrewarm (call?: Call): Promise<void>
}
