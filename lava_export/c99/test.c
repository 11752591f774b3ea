/* Runs the test vectors; prints the first tick and population that differ. */
#include <stdio.h>
#include <time.h>

#include "runtime.h"

struct event { uint32_t tick, population, neuron; int32_t value; };
struct vector { uint32_t ticks, first_event; };

#include "vectors.h"

static uint32_t crc;

/* CRC-32 (that of zlib) of the eight bytes of a number, the lowest first. */
static void add(int64_t number)
{
    uint64_t bits = (uint64_t)number;
    for (int byte = 0; byte < 8; byte++, bits >>= 8) {
        crc ^= (uint32_t)(bits & 255u);
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1u ? 0xEDB88320u : 0u);
    }
}

#define ADD_ALL(values, count) \
    for (uint32_t n = 0; (values) && n < (count); n++) add((values)[n])

static uint32_t digest(const net_population *p, uint32_t count)
{
    crc = 0xFFFFFFFFu;
    if (p->fired) add(count);
    ADD_ALL(p->fired, count);
    ADD_ALL(p->sent, count);
    ADD_ALL(p->u, p->size);
    ADD_ALL(p->v, p->size);
    ADD_ALL(p->a, p->size);
    ADD_ALL(p->residue, p->size);
    ADD_ALL(p->error, p->size);
    ADD_ALL(p->wait, p->size);
    return crc ^ 0xFFFFFFFFu;
}

int main(void)
{
    const struct event *event = events;
    const uint32_t *expected = digests;
    unsigned long ticks = 0;
    clock_t spent = 0;

    for (const struct vector *vector = vectors; vector->ticks; vector++) {
        const struct event *end = events + vector[1].first_event;
        net_reset();
        for (uint32_t tick = 0; tick < vector->ticks; tick++, ticks++) {
            const clock_t start = clock();
            enum net_status status = NET_OK;
            for (; event < end && event->tick == tick && status == NET_OK; event++) {
                status = net_send(event->population, event->neuron, event->value);
            }
            status = status == NET_OK ? net_tick() : status;
            spent += clock() - start;
            for (uint32_t p = 0; p < NET_POPULATIONS; p++) {
                if (status != NET_OK ||
                    digest(&net_populations[p], net_fired(p)) != *expected++) {
                    printf("vector %d, tick %lu: population %lu differs, status %d\n",
                           (int)(vector - vectors), (unsigned long)tick, (unsigned long)p,
                           (int)status);
                    return 1;
                }
            }
        }
    }
    printf("%lu ticks as expected, %.1f us per tick\n", ticks,
           1e6 * (double)spent / CLOCKS_PER_SEC / (double)ticks);
    return 0;
}
