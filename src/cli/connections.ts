import type { EngineConfig } from '../config/config.ts'

/**
 * Enough connections for `concurrency` objects in work. While one connection sends a large object, or reads it, another
 * looks at it. With fewer than two for each object, all could be busy with bodies and none could look.
 */
export function withRoomFor(config: EngineConfig, concurrency: number): EngineConfig {
  const { provider } = config
  if (!('maxConnections' in provider)) return config
  return {
    ...config,
    provider: { ...provider, maxConnections: Math.max(provider.maxConnections, 2 * concurrency + 2) },
  }
}
