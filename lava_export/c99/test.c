/* Runs the test vectors; prints the first population and tick that differ. */
#include <stdio.h>
#include <time.h>

#include "runtime.h"

struct event { uint32_t tick, population, neuron; int32_t value; };
struct vector { uint32_t ticks, first_event, first_digest; };

#include "vectors.h"

static uint32_t crc;

/* CRC-32 (zlib's) over the eight bytes of a number, the lowest first. */
static void add(int64_t number)
{
    uint64_t bits = (uint64_t)number;
    for (int byte = 0; byte < 8; byte++, bits >>= 8) {
        crc ^= (uint32_t)(bits & 255u);
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1u ? 0xEDB88320u : 0u);
    }
}

static uint32_t digest(uint32_t population)
{
    const net_population *p = &net_populations[population];
    const uint32_t count = net_fired(population);
    uint32_t n;

    crc = 0xFFFFFFFFu;
    if (p->fired) {
        add(count);
        for (n = 0; n < count; n++) add(p->fired[n]);
        for (n = 0; p->sent && n < count; n++) add(p->sent[n]);
    }
    for (n = 0; p->u && n < p->size; n++) add(p->u[n]);
    for (n = 0; p->v && n < p->size; n++) add(p->v[n]);
    for (n = 0; p->a && n < p->size; n++) add(p->a[n]);
    for (n = 0; p->residue && n < p->size; n++) add(p->residue[n]);
    for (n = 0; p->error && n < p->size; n++) add(p->error[n]);
    for (n = 0; p->wait && n < p->size; n++) add(p->wait[n]);
    return crc ^ 0xFFFFFFFFu;
}

static int run(const struct vector *vector, clock_t *spent)
{
    const struct event *event = events + vector->first_event;
    const struct event *end = events + vector[1].first_event;
    const uint32_t *expected = digests + vector->first_digest;

    net_reset();
    for (uint32_t tick = 0; tick < vector->ticks; tick++) {
        const clock_t start = clock();
        for (; event < end && event->tick == tick; event++) {
            if (net_send(event->population, event->neuron, event->value) != NET_OK) {
                printf("tick %lu: input refused\n", (unsigned long)tick);
                return 1;
            }
        }
        if (net_tick() != NET_OK) {
            printf("tick %lu: an error of the network\n", (unsigned long)tick);
            return 1;
        }
        *spent += clock() - start;
        for (uint32_t p = 0; p < NET_POPULATIONS; p++) {
            if (digest(p) != *expected++) {
                printf("tick %lu: population %lu differs\n", (unsigned long)tick,
                       (unsigned long)p);
                return 1;
            }
        }
    }
    return 0;
}

int main(void)
{
    const struct vector *vector = vectors;
    clock_t spent = 0;
    unsigned long ticks = 0;

    for (; vector->ticks; vector++) {
        if (run(vector, &spent)) return 1;
        ticks += vector->ticks;
    }
    printf("%lu ticks as expected, %.1f us a tick\n", ticks,
           1e6 * (double)spent / CLOCKS_PER_SEC / (double)ticks);
    return 0;
}
