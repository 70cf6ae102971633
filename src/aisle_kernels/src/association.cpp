#include "association.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace aisle {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The persons and detections of one camera that contest one another.
struct Contest {
    std::vector<int64_t> persons, detections;
};

void settle(const Candidates& c, const Contest& contest, int64_t* owner) {
    const int64_t persons = static_cast<int64_t>(contest.persons.size()), detections = static_cast<int64_t>(contest.detections.size());
    // The matching wants no more rows than columns.
    const bool turned = persons > detections;
    const int64_t rows = std::min(persons, detections), columns = std::max(persons, detections);
    std::vector<double> costs(static_cast<std::size_t>(rows * columns));
    const auto place = [&](int64_t row, int64_t column) {
        return turned ? contest.persons[column] * c.detections + contest.detections[row]
                      : contest.persons[row] * c.detections + contest.detections[column];
    };
    for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
            const int64_t at = place(i, j);
            costs[i * columns + j] = c.distances[at] <= c.limit && c.gains[at] > 0.0 ? -c.gains[at] : 0.0;
        }
    }
    std::vector<int64_t> column_of(static_cast<std::size_t>(rows));
    match(rows, columns, costs.data(), column_of.data());
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t j = column_of[i];
        if (costs[i * columns + j] < 0.0) owner[contest.detections[turned ? i : j]] = contest.persons[turned ? j : i];
    }
}

}  // namespace

void match(int64_t rows, int64_t columns, const double* costs, int64_t* column_of) {
    std::vector<double> row_price(rows, 0.0), column_price(columns, 0.0), shortest(columns);
    std::vector<int64_t> row_of(columns, -1), before(columns), open(columns);
    std::fill(column_of, column_of + rows, -1);
    std::vector<int64_t> reached_rows, reached_columns;
    for (int64_t start = 0; start < rows; ++start) {
        std::fill(shortest.begin(), shortest.end(), kInfinity);
        reached_rows.clear(), reached_columns.clear();
        // From the last column on, so that of equal ones the first is taken.
        for (int64_t k = 0; k < columns; ++k) open[k] = columns - 1 - k;
        int64_t left = columns, row = start, end = -1;
        double length = 0.0;
        while (end < 0) {
            reached_rows.push_back(row);
            int64_t nearest = -1;
            double least = kInfinity;
            for (int64_t k = 0; k < left; ++k) {
                const int64_t column = open[k];
                const double through = length + costs[row * columns + column] - row_price[row] - column_price[column];
                if (through < shortest[column]) shortest[column] = through, before[column] = row;
                // Of equally near ones, one that is nobody's ends the search.
                if (nearest < 0 || shortest[column] < least || (shortest[column] == least && row_of[column] < 0))
                    least = shortest[column], nearest = k;
            }
            length = least;
            const int64_t column = open[nearest];
            open[nearest] = open[--left];
            reached_columns.push_back(column);
            if (row_of[column] < 0)
                end = column;
            else
                row = row_of[column];
        }
        row_price[start] += length;
        for (const int64_t reached : reached_rows)
            if (reached != start) row_price[reached] += length - shortest[column_of[reached]];
        for (const int64_t reached : reached_columns) column_price[reached] -= length - shortest[reached];
        // Along the path back to its start every row gives up its column for the next one.
        for (int64_t column = end, taker = -1; taker != start;) {
            taker = before[column];
            row_of[column] = taker;
            std::swap(column_of[taker], column);
        }
    }
}

// Most detections have one possible person who has no other detection of that camera: those are given to him at once.
void assign(const Candidates& c, int64_t* owner) {
    std::vector<int> possible(static_cast<std::size_t>(c.detections)), in_frame(static_cast<std::size_t>(c.persons * c.number_of_cameras));
    std::vector<int64_t> pairs;
    for (int64_t n = 0; n < c.persons; ++n) {
        if (!c.asked[n]) continue;
        for (int64_t m = 0; m < c.detections; ++m) {
            const int64_t at = n * c.detections + m;
            if (!(c.free[m] && c.distances[at] <= c.limit && c.gains[at] > 0.0)) continue;
            pairs.push_back(at);
            ++possible[m];
            ++in_frame[n * c.number_of_cameras + c.cameras[m]];
        }
    }
    std::vector<Contest> contests;
    for (const int64_t at : pairs) {
        const int64_t n = at / c.detections, m = at % c.detections;
        if (possible[m] == 1 && in_frame[n * c.number_of_cameras + c.cameras[m]] == 1) {
            owner[m] = n;
            continue;
        }
        contests.resize(static_cast<std::size_t>(c.number_of_cameras));
        Contest& contest = contests[c.cameras[m]];
        // Persons come in order here, detections of one person too.
        if (contest.persons.empty() || contest.persons.back() != n) contest.persons.push_back(n);
        const auto found = std::lower_bound(contest.detections.begin(), contest.detections.end(), m);
        if (found == contest.detections.end() || *found != m) contest.detections.insert(found, m);
    }
    for (const Contest& contest : contests)
        if (!contest.persons.empty()) settle(c, contest, owner);
}

void find_clusters(double gate, int64_t detections, const int64_t* cameras, const double* positions, const double* covariances,
                   int64_t* labels) {
    std::vector<double> distances(static_cast<std::size_t>(detections * detections), kInfinity);
    for (int64_t m = 0; m < detections; ++m) {
        labels[m] = m;
        for (int64_t k = 0; k < m; ++k) {
            if (cameras[k] == cameras[m]) continue;
            const double *a = covariances + 4 * k, *b = covariances + 4 * m;
            const double x = positions[2 * k] - positions[2 * m], y = positions[2 * k + 1] - positions[2 * m + 1];
            const double xx = a[0] + b[0], xy = a[1] + b[1], yy = a[3] + b[3];
            const double distance = (yy * (x * x) - 2.0 * xy * x * y + xx * (y * y)) / (xx * yy - xy * xy);
            distances[k * detections + m] = distances[m * detections + k] = distance;
        }
    }
    while (true) {
        const auto least = std::min_element(distances.begin(), distances.end());
        if (least == distances.end() || !(*least <= gate)) break;
        const int64_t one = (least - distances.begin()) / detections, other = (least - distances.begin()) % detections;
        // A cluster is as far away as its farthest member. The first of the two stands for both.
        std::replace(labels, labels + detections, other, one);
        for (int64_t k = 0; k < detections; ++k) {
            const double farthest = std::max(distances[one * detections + k], distances[other * detections + k]);
            distances[one * detections + k] = distances[k * detections + one] = farthest;
        }
        for (int64_t k = 0; k < detections; ++k) distances[other * detections + k] = distances[k * detections + other] = kInfinity;
    }
}

void find_shadows(double limit, int64_t persons, const bool* confirmed, int64_t detections, const int64_t* cameras, const int64_t* owner,
                  const double* distances, bool* shadows) {
    const auto shown = [&](int64_t person, int64_t camera) {
        for (int64_t m = 0; m < detections; ++m)
            if (owner[m] == person && cameras[m] == camera) return true;
        return false;
    };
    for (int64_t m = 0; m < detections; ++m) {
        shadows[m] = false;
        for (int64_t n = 0; n < persons && owner[m] < 0 && !shadows[m]; ++n)
            shadows[m] = confirmed[n] && distances[n * detections + m] <= limit && !shown(n, cameras[m]);
    }
}

}  // namespace aisle
